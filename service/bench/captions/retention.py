"""How many numbers, names, addresses and glossary words come through, with placeholders or without.

Numbers and names are those of the test sets that the human translation keeps as well. Addresses,
protected and glossary words are rare there, so they replace one noun in each sentence. With
placeholders, the service's own session translates, retries included.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from service.bench.captions.documents import Line
from service.bench.captions.simulated_replay import Speaker, Stage
from service.bench.captions.transcript import Transcript
from service.wire.protocol import (
    GlossaryEntry,
    SessionParams,
    SessionUpdate,
    SourceCommit,
    SourceParams,
    TargetParams,
    TranslationFinal,
)
from tokenspeed.bench.page import markdown_table
from tokenspeed.engine.request import Request
from tokenspeed.engine.translate import split_sentences

ADDRESSES: Final = (
    "https://example.org/live",
    "www.bahnhof-west.de",
    "info@captions.example",
    "maria.lopez@mail.example.com",
    "http://localhost:8000/v1?x=1",
    "example.com/a_b",
)
PROTECTED: Final = ("TokenSpeed", "Quiddly", "OpenRoad Mini", "xq-17", "Zwiebelkuchen", "Näkki")
GLOSSARY: Final = {
    "de": ("Wärmepumpe", "Bahnsteig", "Netzkasten", "Rechnungsprüferin", "Lochkarte"),
    "fr": ("pompe à chaleur", "quai", "carte perforée", "vérificatrice", "biscotte"),
    "es": ("bomba de calor", "andén", "tarjeta perforada", "auditora", "bizcocho"),
    "en": ("heat pump", "platform", "punched card", "auditor", "rusk"),
}
_NOUN: Final = re.compile(r"\b[Tt]he ([a-z]{4,})\b")
_NUMBER: Final = re.compile(r"(?<![\w.,])\d(?:[\d.,:]*\d)?(?![\w])")
_NAME: Final = re.compile(r"(?<=[a-z,] )[A-Z][\w'’-]{2,}")


@dataclass(frozen=True, slots=True)
class Case:
    """A sentence, what must be in its translation, and what the session is told."""

    kind: str
    text: str
    wanted: str
    glossary: tuple[GlossaryEntry, ...] = ()
    do_not_translate: tuple[str, ...] = ()


def find_cases(lines: Sequence[Line], target: str) -> list[Case]:
    """Return the numbers and names of the lines, and the same lines with other words put in."""
    return [*_found(lines), *_put_in(lines, target)]


def _found(lines: Sequence[Line]) -> Iterator[Case]:
    for line in lines:
        kept = {_digits(number) for number in _NUMBER.findall(line.reference)}
        for number in _NUMBER.findall(line.source):
            if _digits(number) in kept:
                yield Case("number", line.source, number)
        for name in dict.fromkeys(_NAME.findall(line.source)):
            if _holds("name", line.reference, name):
                yield Case("name", line.source, name)


def _put_in(lines: Sequence[Line], target: str) -> Iterator[Case]:
    count = 0
    for line in lines:
        noun = _NOUN.search(line.source)
        if noun is None:
            continue
        head, tail = line.source[: noun.start(1)], line.source[noun.end(1) :]
        address = ADDRESSES[count % len(ADDRESSES)]
        word = PROTECTED[count % len(PROTECTED)]
        choice = GLOSSARY[target]
        entry = GlossaryEntry(noun[1], choice[count % len(choice)])
        yield Case("address", head + address + tail, address)
        yield Case("do not translate", head + word + tail, word, do_not_translate=(word,))
        yield Case("glossary", line.source, entry.target, glossary=(entry,))
        count += 1


def count_kept(
    stage: Stage, cases: Sequence[Case], source: str, target: str
) -> list[dict[str, Any]]:
    """Translate every case both ways; return a row for each kind.

    Raises:
        TranslationFailed: a sentence could not be translated.
    """
    plain = _plain(stage, [case.text for case in cases], source, target)
    live, violations = _live(stage, cases, source, target)
    rows = []
    for kind in dict.fromkeys(case.kind for case in cases):
        chosen = [i for i, case in enumerate(cases) if case.kind == kind]
        rows.append(
            {
                "kind": kind,
                "source": source,
                "target": target,
                "cases": len(chosen),
                "kept": sum(_holds(kind, live[i], cases[i].wanted) for i in chosen),
                "kept_without": sum(_holds(kind, plain[i], cases[i].wanted) for i in chosen),
                "violations": sum(violations[i] for i in chosen),
            }
        )
    return rows


def retention_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a table."""
    cells = []
    for row in rows:
        shares = [f"{row[name] / row['cases']:.1%}" for name in ("kept", "kept_without")]
        cells.append([row["kind"], f"{row['source']} to {row['target']}", row["cases"], *shares])
    return markdown_table("what | direction | cases | kept | without placeholders", "llrrr", cells)


def _plain(stage: Stage, texts: Sequence[str], source: str, target: str) -> list[str]:
    """Translate texts as they are: greedily, sentence by sentence."""
    outputs: dict[str, str] = {}
    for text in dict.fromkeys(texts):
        parts = []
        for sentence in split_sentences(text):
            prompts = stage.translator.prompts
            prompt = prompts.build(sentence, source, target, is_open=False)
            request = Request(
                prompt, max_new_tokens=prompts.length_cap(len(prompt), source, target)
            )
            done: list[tuple[int, ...]] = []
            stage.engine.submit(
                request,
                lambda tokens, outcome, done=done: done.append(tokens),  # type: ignore[misc]
            )
            stage.engine.run_until_idle()
            tokens = [token for part in done for token in part]
            parts.append(stage.translator.new_detokenizer()(tokens)[0])
        outputs[text] = " ".join(parts)
    return [outputs[text] for text in texts]


def _live(
    stage: Stage, cases: Sequence[Case], source: str, target: str
) -> tuple[list[str], list[int]]:
    speaker = Speaker(stage, 0, [])
    texts, violations = [], []
    for i, case in enumerate(cases):
        params = SessionParams(
            SourceParams(source),
            (TargetParams(target),),
            glossary=case.glossary,
            do_not_translate=case.do_not_translate,
        )
        speaker.say(SessionUpdate(params))
        speaker.say(SourceCommit(f"case-{i}", 0, case.text))
        stage.engine.run_until_idle()
        while speaker.next_tick_s() <= stage.clock():  # a text of more pieces than one turn takes
            speaker.tick()
            stage.engine.run_until_idle()
        final = _last_final(speaker.transcript)
        texts.append(final.text)
        violations.append(final.stats.violations)
    return texts, violations


def _last_final(transcript: Transcript) -> TranslationFinal:
    event = transcript.received[-1].event
    assert isinstance(event, TranslationFinal), event
    return event


def _digits(number: str) -> str:
    return re.sub(r"\D", "", number)


def _holds(kind: str, text: str, wanted: str) -> bool:
    if kind == "number":  # its separators may change with the language: 3,500 and 3.500
        return _digits(wanted) in {_digits(found) for found in _NUMBER.findall(text)}
    flags = re.IGNORECASE if kind == "glossary" else re.NOFLAG
    return re.search(rf"(?<!\w){re.escape(wanted)}", text, flags) is not None
