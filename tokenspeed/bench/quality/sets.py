"""Translation quality on the public test sets: BLEU, chrF, stripped sources, prefixes, address.

Knows sets, directions and metrics; is given a function that translates.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tokenspeed.bench.page import markdown_table
from tokenspeed.bench.quality.text_score import bleu, score_text
from tokenspeed.text.style import FAMILIAR, FORMAL, YOU, strip_style

ENGLISH = "en"
VARIANTS = ("whole", "stripped", "auto")  # of a source; "context" only if asked for


@dataclass(frozen=True)
class Ask:
    """One text to translate."""

    text: str
    source: str | None  # None: unknown
    target: str
    is_open: bool = False
    context: tuple[tuple[str, str], ...] = ()  # sentences said before, with their translations


Translate = Callable[[Sequence[Ask]], list[str]]


@dataclass(frozen=True)
class TestSet:
    """A test set in one direction."""

    __test__ = False  # not a test, in spite of its name

    name: str
    source: str
    target: str
    sources: tuple[str, ...]
    references: tuple[str, ...]
    documents: tuple[str, ...] = ()  # of each line, if the set has them


@dataclass(frozen=True)
class Score:
    """A row of the table.

    Attributes:
        bleu_words: BLEU without case and punctuation of translation and reference: shows what a
            source without them costs in words.
    """

    set: str
    direction: str
    variant: str
    lines: int
    bleu: float
    bleu_words: float
    chrf: float
    bleu_signature: str
    chrf_signature: str


@dataclass(frozen=True)
class PrefixScore:
    """How translations of growing prefixes compare with the translation of the whole.

    Attributes:
        consistent: share of prefixes whose translation is a prefix, in words, of the whole's.
        standing: share of their words in the prefix that both translations have in common.
        length: mean words of a prefix's translation as a share of the whole's.
        said: mean words of the prefixes as a share of the whole source's.
        ahead: mean by which a prefix's length exceeds its share said; 0 where it does not.
    """

    set: str
    direction: str
    marked: bool
    stripped: bool
    prefixes: int
    consistent: float
    standing: float
    length: float
    said: float
    ahead: float


@dataclass(frozen=True)
class AddressScore:
    """Which form of address translations of English sentences with "you" choose.

    Attributes:
        lines: of the set with "you" in the source.
        formal, familiar: number of such translations; those with both forms, or none, count in
            neither.
        reference_formal, reference_familiar: number of such references.
        bleu_with, bleu_without: of the lines with "you" and of all others; a model that always
            uses one form must be wrong in some of the former.
    """

    set: str
    direction: str
    lines: int
    formal: int
    familiar: int
    reference_formal: int
    reference_familiar: int
    bleu_with: float
    bleu_without: float


def load_sets(
    folder: Path, names: Sequence[str] = (), directions: Sequence[str] = (), limit: int = 0
) -> list[TestSet]:
    """Read `name.en-xx.tsv` files, each in both directions.

    Args:
        names: of the sets; empty for all.
        directions: such as "en-de" and "de-en"; empty for all.
        limit: lines of a set; 0 for all.
    Raises:
        FileNotFoundError: the folder has no such set.
    """
    sets = []
    for path in sorted(folder.glob("*.tsv")):
        name, _, pair = path.stem.rpartition(".")
        if names and name not in names:
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        columns = [line.split("\t") for line in lines[: limit or None]]
        english, foreign = (tuple(c[i] for c in columns) for i in (0, 1))
        language = pair.removeprefix(f"{ENGLISH}-")
        documents = tuple(c[2] for c in columns) if all(len(c) > 2 for c in columns) else ()
        both = (
            TestSet(name, ENGLISH, language, english, foreign, documents),
            TestSet(name, language, ENGLISH, foreign, english, documents),
        )
        sets += [s for s in both if not directions or f"{s.source}-{s.target}" in directions]
    if not sets:
        raise FileNotFoundError(f"{folder} holds no test set name.en-xx.tsv that was asked for")
    return sets


def translate_sets(
    sets: Sequence[TestSet], translate: Translate, variants: Sequence[str] = VARIANTS
) -> dict[str, list[list[str]]]:
    """Translate every set in some of these ways.

    "whole" as it is; "stripped" without case and punctuation; "auto" without naming its language;
    "context" after the line before it, if that belongs to the same document. The last one needs
    "whole" earlier in `variants`.

    Returns:
        For each variant, the translations of each set.
    """
    asked: dict[str, Callable[[str, str, str], Ask]] = {
        "whole": Ask,
        "stripped": lambda text, source, target: Ask(
            strip_style(text, 0.0) or text, source, target
        ),
        "auto": lambda text, source, target: Ask(text, None, target),
    }
    found: dict[str, list[list[str]]] = {}
    for variant in variants:
        if variant == "context":
            pairs = zip(sets, found["whole"], strict=True)
            asks = [ask for s, wholes in pairs for ask in _after_the_line_before(s, wholes)]
        else:
            ask = asked[variant]
            asks = [ask(text, s.source, s.target) for s in sets for text in s.sources]
        found[variant] = _split(translate(asks), [len(s.sources) for s in sets])
    return found


def _after_the_line_before(test_set: TestSet, wholes: Sequence[str]) -> list[Ask]:
    """Ask for each line with the one before it, whose translation was made without context."""
    sources, documents = test_set.sources, test_set.documents or ("",) * len(test_set.sources)
    asks = []
    for i, text in enumerate(sources):
        follows = i > 0 and documents[i] == documents[i - 1]
        context = ((sources[i - 1], wholes[i - 1]),) if follows else ()
        asks.append(Ask(text, test_set.source, test_set.target, context=context))
    return asks


def score_sets(
    sets: Sequence[TestSet], outputs: dict[str, list[list[str]]], processes: int = 1
) -> list[Score]:
    """Score what `translate_sets` returned."""
    jobs = [
        (s, variant, hypotheses)
        for variant, translated in outputs.items()
        for s, hypotheses in zip(sets, translated, strict=True)
    ]
    if processes == 1:
        return [score_set(*job) for job in jobs]
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(score_set, *zip(*jobs, strict=True)))


def score_set(test_set: TestSet, variant: str, hypotheses: Sequence[str]) -> Score:
    """Score the translations of one set with sacreBLEU."""
    scored = score_text(hypotheses, test_set.references)
    words, reference_words = (
        [strip_style(text, 0.0) for text in texts] for texts in (hypotheses, test_set.references)
    )
    return Score(
        test_set.name,
        f"{test_set.source}-{test_set.target}",
        variant,
        len(hypotheses),
        round(scored.bleu, 2),
        round(bleu(words, reference_words), 2),
        round(scored.chrf, 2),
        scored.bleu_signature,
        scored.chrf_signature,
    )


def score_address(test_set: TestSet, hypotheses: Sequence[str]) -> AddressScore | None:
    """Count forms of address in translations; None if the target's are not known."""
    formal, familiar = FORMAL.get(test_set.target), FAMILIAR.get(test_set.target)
    if formal is None or familiar is None:
        return None
    has_you = [YOU.search(text) is not None for text in test_set.sources]
    lines = [i for i, is_so in enumerate(has_you) if is_so]
    counts = []
    for texts in (hypotheses, test_set.references):
        kinds = [(bool(formal.search(texts[i])), bool(familiar.search(texts[i]))) for i in lines]
        counts += [kinds.count((True, False)), kinds.count((False, True))]
    others = [i for i, is_so in enumerate(has_you) if not is_so]
    bleus = [_bleu(hypotheses, test_set.references, part) for part in (lines, others)]
    direction = f"{test_set.source}-{test_set.target}"
    return AddressScore(test_set.name, direction, len(lines), *counts, *bleus)


def _bleu(hypotheses: Sequence[str], references: Sequence[str], lines: Sequence[int]) -> float:
    """Score some of the lines; 0 for none."""
    if not lines:
        return 0.0
    return round(bleu([hypotheses[i] for i in lines], [references[i] for i in lines]), 2)


def score_prefixes(
    test_set: TestSet,
    translate: Translate,
    lines: int,
    *,
    marked: bool = True,
    stripped: bool = False,
) -> PrefixScore:
    """Translate every prefix of the first lines of a set and compare with the whole.

    Args:
        lines: sentences, evenly spread over the set.
        marked: tell the model that the source is unfinished, as the service does; without the mark
            it has to take prefixes for whole sentences.
        stripped: leave out case and punctuation, as a recogniser does.
    """
    every = max(1, len(test_set.sources) // lines)
    said = test_set.sources[::every][:lines]
    texts = [(strip_style(t, 0.0) or t if stripped else t).split() for t in said]
    source, target = test_set.source, test_set.target
    wholes = translate([Ask(" ".join(words), source, target) for words in texts])
    cuts = [(i, n) for i, words in enumerate(texts) for n in range(1, len(words))]
    parts = translate([Ask(" ".join(texts[i][:n]), source, target, marked) for i, n in cuts])
    consistent = standing = words_out = 0
    lengths, shares, ahead = 0.0, 0.0, 0.0
    for (i, n), part in zip(cuts, parts, strict=True):
        whole, words = wholes[i].split(), part.split()
        common = _common_prefix(words, whole)
        consistent += common == len(words)
        standing += common
        words_out += len(words)
        length, share = len(words) / max(1, len(whole)), n / len(texts[i])
        lengths, shares, ahead = lengths + length, shares + share, ahead + max(0.0, length - share)
    count = max(1, len(cuts))
    return PrefixScore(
        test_set.name,
        f"{source}-{target}",
        marked,
        stripped,
        len(cuts),
        round(consistent / count, 4),
        round(standing / max(1, words_out), 4),
        round(lengths / count, 4),
        round(shares / count, 4),
        round(ahead / count, 4),
    )


def score_table(scores: Sequence[Score]) -> str:
    """Return a Markdown table, with the variants of a source side by side."""
    variants = list(dict.fromkeys(s.variant for s in scores))
    found = {(s.set, s.direction, s.variant): s for s in scores}
    rows = []
    for s in scores:
        if s.variant == variants[0]:
            same = [found[s.set, s.direction, v] for v in variants]
            cells = [f"{number:.1f}" for other in same for number in (other.bleu, other.chrf)]
            rows.append([s.set, s.direction, f"{s.lines:,}", *cells])
    titles = " | ".join(f"BLEU, {v} | chrF" for v in variants)
    return markdown_table(f"set | direction | lines | {titles}", "llr" + "rr" * len(variants), rows)


def prefix_table(scores: Sequence[PrefixScore]) -> str:
    """Return a Markdown table of the prefix metrics."""
    rows = []
    for s in scores:
        mark, style = "open" if s.marked else "none", "stripped" if s.stripped else "whole"
        shares = [f"{n:.1%}" for n in (s.consistent, s.standing, s.length, s.said, s.ahead)]
        rows.append([s.set, s.direction, mark, style, f"{s.prefixes:,}", *shares])
    titles = "set | direction | mark | source | prefixes | consistent | standing | length | said"
    return markdown_table(f"{titles} | ahead", "llllrrrrrr", rows)


def _common_prefix(a: Sequence[str], b: Sequence[str]) -> int:
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count


def _split(flat: list[str], sizes: Sequence[int]) -> list[list[str]]:
    parts, at = [], 0
    for size in sizes:
        parts.append(flat[at : at + size])
        at += size
    return parts
