"""Synthetic pairs: every sentence once, shared among processes, and used by the next training."""

import lzma
from collections.abc import Sequence
from pathlib import Path

import pytest

from tokenspeed.cli import main
from tokenspeed.model.config import DEFAULT_MODEL
from tokenspeed.training.config import Mix
from tokenspeed.training.corpus import DISTILLED, load_bitext, read_pairs, sampling_weights
from tokenspeed.training.distill import Plan, distill, is_plausible, words_in_common
from tokenspeed.training.examples import KnownCut, apply_cut


def spell(texts: Sequence[str], source: str, target: str) -> list[str]:
    """Stand in for a teacher: mark every word with the language it went into."""
    return ["" if "quiet" in t else " ".join(f"{w}/{target}" for w in t.split()) for t in texts]


def rows(path: Path) -> list[list[str]]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [line.rstrip("\n").split("\t") for line in file]


def test_parts_hold_every_sentence_once(toy_corpus: Path, tmp_path: Path) -> None:
    done: list[int] = []
    for index in (1, 2, 3):
        distill(toy_corpus, Plan(["de"], part=(index, 3)), spell, tmp_path, done.append)
    made = [row for i in (1, 2, 3) for row in rows(tmp_path / f"en-de.distilled-{i}.tsv.xz")]
    pairs = read_pairs(toy_corpus / "en-de.train.tsv.xz")
    there = [row[0] for row in made if row[1].endswith("/de")]
    back = [row[1] for row in made if row[0].endswith("/en")]
    assert sorted(there) == sorted({english for english, _ in pairs if "quiet" not in english})
    assert sorted(back) == sorted({foreign for _, foreign in pairs})
    assert sum(done) == len({e for e, _ in pairs}) + len({f for _, f in pairs})
    assert {row[2] for row in made} == set(DISTILLED)


def test_what_was_done_before_the_end_is_usable(toy_corpus: Path, tmp_path: Path) -> None:
    done: list[int] = []
    distill(toy_corpus, Plan(["de"]), spell, tmp_path, done.append, lambda: bool(done))
    made = rows(tmp_path / "en-de.distilled-1.tsv.xz")
    assert len(done) == 1
    assert {row[2] for row in made} == {DISTILLED[0]}


def test_training_reads_synthetic_pairs_beside_the_corpus(toy_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "en-de.train.tsv.xz").write_bytes((toy_corpus / "en-de.train.tsv.xz").read_bytes())
    alone = load_bitext(tmp_path, "de")
    distill(tmp_path, Plan(["de"]), spell, tmp_path)
    both = load_bitext(tmp_path, "de")
    assert len(both) == len(alone) + sum(both.sources.count(name) for name in DISTILLED)
    assert both.english[: len(alone)] == alone.english
    # Learnt as distillation where the teacher wrote the target, else as back-translation.
    mix = Mix(weights={"distilled": 0.5, "back-translated": 0.25})
    for from_english, name in ((True, DISTILLED[0]), (False, DISTILLED[1])):
        weights = sampling_weights(both, mix, from_english=from_english)
        wanted = {"tatoeba": 1.0, name: 0.5}
        assert weights.tolist() == [wanted.get(source, 0.25) for source in both.sources]


@pytest.mark.parametrize(
    ("source", "made", "plausible"),
    [
        ("Good morning, everyone.", "Guten Morgen zusammen.", True),
        ("Berlin", "Berlin", True),  # names stay
        ("The dog sleeps under it.", "The dog sleeps under it.", False),
        ("Yes.", "", False),
        ("Yes.", "ja ja ja ja ja ja ja", False),
        ("one two three four five six", "a b c d e a b c d", False),
        ("again and again and again and again and again", "a b a b a b a b a", True),
    ],
)
def test_what_may_teach(source: str, made: str, plausible: bool) -> None:
    assert is_plausible(source, made) is plausible


def test_the_command_writes_pairs_of_the_default_model(toy_corpus: Path, tmp_path: Path) -> None:
    command = ["distill", "--model", str(DEFAULT_MODEL), "--corpus", str(toy_corpus)]
    command += ["--out", str(tmp_path), "--languages", "de", "--device", "cpu", "--part", "1/12"]
    assert main(command) == 0
    made = rows(tmp_path / "en-de.distilled-1.tsv.xz")
    assert made
    assert all(english and foreign and name in DISTILLED for english, foreign, name in made)


@pytest.mark.parametrize(
    ("beginning", "whole", "count"),
    [
        ("Ich habe gesehen.", "Ich habe den Mann gesehen.", 2),
        ("Ich habe.", "Ich habe den Mann gesehen.", 2),  # its stop is no word of the whole
        ("Das", "Ich habe den Mann gesehen.", 0),
        ("Ja.", "Ja.", 0),  # may go on
    ],
)
def test_what_stands_is_what_both_translations_begin_with(
    beginning: str, whole: str, count: int
) -> None:
    assert words_in_common(beginning, whole) == count


def test_a_teacher_cuts_its_own_translations(toy_corpus: Path, tmp_path: Path) -> None:
    mono = ["a b c d", "e f g h"]
    (tmp_path / "en-de.train.tsv.xz").write_bytes((toy_corpus / "en-de.train.tsv.xz").read_bytes())
    with lzma.open(tmp_path / "en.mono.txt.xz", "wt", encoding="utf-8") as file:
        file.writelines(f"{text}\tspeech\n" for text in mono)
    distill(tmp_path, Plan(["de"], has_pairs=False, prefix_share=1.0), spell, tmp_path)
    made = rows(tmp_path / "en-de.distilled-1.tsv.xz")
    assert {row[0] for row in made} == set(mono)
    both = load_bitext(tmp_path, "de")
    assert len(both.cuts) == len(mono)
    for at, text in both.cuts.items():
        cut = KnownCut.parse(text)
        assert str(cut) == text
        source, target = apply_cut((both.english[at], both.foreign[at]), cut)
        assert both.foreign[at].startswith(target)
        assert source in both.english[at]
        assert cut.target_words <= cut.source_words, "word by word, a half word says nothing"
