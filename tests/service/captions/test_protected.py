"""What is no word of a language, in text that is still spoken: it stays, and nothing shown for good
changes, whichever placeholders a model has and whatever it does to them."""

import re
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.captions.job import Job
from service.captions.policy import PRESETS, Source
from service.captions.stream import TargetStream
from tests.service.fakes import BABBLE, ids, new_detokenizer, translation_of
from tokenspeed.text.pipeline import Hygiene
from tokenspeed.text.vocabulary import MARKS, NAMES, Vocabulary
from tokenspeed.text.whole import Exchange, Whole

FAMILIES = {
    "names": Vocabulary(is_known=str.isascii, placeholders=NAMES),
    "marks": Vocabulary(is_known=str.isascii, placeholders=MARKS),
}
SPANS = ("a@b.de", "{name}", "<b>", "</b>", "👍", "#tag", "`x y`", "Привет", "[applause]", ">>")
WORDS = ("we", "go", "home", "and", "rest,", "then", "sleep.", "Never", "THE", "TRAIN", "IS")
TEXTS = st.lists(st.sampled_from((*SPANS, *WORDS, *WORDS)), min_size=1, max_size=14)


def hygiene(family: str) -> Hygiene:
    return Hygiene(FAMILIES[family], source="en", target="de")


def stream(family: str, preset: str) -> TargetStream:
    return TargetStream("s", "a", "en", "de", PRESETS[preset], new_detokenizer, hygiene(family))


def speak(
    found: TargetStream, family: str, words: list[str], lost: set[int], grows: bool = True
) -> str:
    """Say words one after another to a model that copies; return what a reader has in the end."""
    shown = ""
    read = hygiene(family)
    for n in range(1 if grows else len(words), len(words) + 1):
        is_final = n == len(words)
        cuts = read.cut(" ".join(words[:n]))
        sources = [
            Source(
                cut.text,
                99,
                is_open=not is_final and i == len(cuts) - 1,
                is_final=is_final or i < len(cuts) - 1,
                is_cut=cut.is_cut,
                continues=i > 0 and cuts[i - 1].is_cut,
            )
            for i, cut in enumerate(cuts)
        ]
        jobs, _ = found.revise(sources, n, float(n))
        while jobs:
            following = answer(found, jobs.pop(0), lost)
            jobs += [] if following is None else [following]
        append, _, _ = found.take(float(n))  # which holds that what was committed stays
        shown += append
    assert found.is_done
    return shown


def answer(found: TargetStream, job: Job, lost: set[int]) -> Job | None:
    said = job.text
    for i in lost:
        for family in (NAMES, MARKS):
            said = said.replace(family[i], "")
    tokens = job.forced + ids(said)[len(job.forced) :]
    return found.complete(job, tokens, is_whole=True)


@pytest.mark.parametrize("family", FAMILIES)
@given(words=TEXTS, preset=st.sampled_from(sorted(PRESETS)), lost=st.sets(st.integers(0, 3)))
@example(words="Great job 👍 and <b> more </b> of it".split(), preset="low", lost=set())
@example(
    words="a@b.de {name} we a@b.de a@b.de a@b.de a@b.de {name} a@b.de".split(),
    preset="append_only",
    lost={0, 1},
)
@example(words="THE TRAIN IS late and a@b.de is not".split(), preset="append_only", lost={0})
@example(words=["a@b.de", "`x y`", "`x y`", "`x y`", "a@b.de"], preset="append_only", lost=set())
@example(words=["{name}", "👍", "and", "{name}"], preset="append_only", lost=set())
@example(words=["we", "👍", "and", "👍", "{name}", "he", "👍", "vs"], preset="low", lost=set())
def test_all_that_is_protected_is_in_the_final(
    family: str, words: list[str], preset: str, lost: set[int]
) -> None:
    said = speak(stream(family, preset), family, words, lost)
    wanted = [span.wanted for span in hygiene(family).spans(" ".join(words))]
    for word in wanted:
        assert said.count(word) >= wanted.count(word), (said, word)


@pytest.mark.parametrize("family", FAMILIES)
@given(words=TEXTS)
def test_a_segment_at_once_keeps_its_spans_in_order(family: str, words: list[str]) -> None:
    said = speak(stream(family, "low"), family, words, set(), grows=False)
    at = 0
    for span in hygiene(family).spans(" ".join(words)):
        assert span.wanted in said[at:], (said, span.wanted)
        at = said.index(span.wanted, at) + len(span.wanted)


GROWING_SPANS = (
    "https://a.example/b-c?d=e", "ftp://files.example.org/pub/", "me@a.example", "{{ .Name }}",
    "%1$s", "$$E=mc^2$$", "mc²", "<b>", "</b>", "👍", "❤️", "#tag", "≥ 18", "20 %", "v2.1.0",
    "[applause]", "Привет", "`x y`",
)  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@given(
    spans=st.lists(st.sampled_from(GROWING_SPANS), min_size=1, max_size=3, unique=True),
    words=st.lists(st.sampled_from(WORDS[:6]), min_size=1, max_size=8),
    preset=st.sampled_from(sorted(PRESETS)),
    rng=st.randoms(use_true_random=False),
)
@example(["{{ .Name }}"], ["we", "go"], "balanced", Random(0))
@example(["$$E=mc^2$$"], ["we", "go"], "high", Random(0))
@example(["👍", "{{ .Name }}"], ["and"], "low", Random(0))
@example(["👍", "❤️"], ["and"], "low", Random(0))
@example(["https://a.example/b-c?d=e", "<b>"], ["we"], "balanced", Random(0))
def test_what_is_in_sight_of_a_span_does_not_vanish_while_words_are_added(
    family: str, spans: list[str], words: list[str], preset: str, rng: Random
) -> None:
    found, read = stream(family, preset), hygiene(family)
    said = [*spans, *words]
    rng.shuffle(said)
    text = " ".join(said)
    wanted = [span.wanted for span in read.spans(text)]
    before = dict.fromkeys(wanted, 0)
    ends = [match.start() for match in re.finditer(r" |$", text)]
    for rev, end in enumerate(ends):
        jobs, _ = found.revise([Source(text[:end], 99)], rev, float(rev))
        for step in (1, 2):  # once before the answer, once after it
            found.take(float(rev))
            shown = found.committed + found.unstable
            for word, times in before.items():
                assert shown.count(word) >= times, (step, text[:end], shown, word)
                before[word] = shown.count(word)
            while jobs:
                following = answer(found, jobs.pop(0), set())
                jobs += [] if following is None else [following]


def test_a_number_in_words_stays_in_words_in_live_text_too() -> None:
    found = stream("names", "low")
    text = "We climb twenty floors"
    (job,), _ = found.revise([Source(text, 4)], 1, 1.0)
    assert job.text == "We climb 20 floors"
    found.complete(job, ids("Wir steigen 20 Etagen hoch"), is_whole=True)
    assert found.take(2.0)[1] == "Wir steigen zwanzig Etagen hoch"


def test_a_final_that_is_no_translation_is_asked_for_once_more_without_anything() -> None:
    found = stream("names", "low")
    source = Source(f"{BABBLE} is said 👍", 9, is_open=False, is_final=True)
    (job,), _ = found.revise([source], 1, 1.0, context=[("Before.", ids("Davor."))])
    assert job.context
    again = found.complete(job, ids(translation_of(job.text)), is_whole=True)
    assert again is not None
    assert (again.text, again.context, again.bias) == (f"{BABBLE} is said.", (), 0.0)
    assert found.complete(again, ids("So ist es."), is_whole=True) is None
    assert found.take(2.0)[0] == "So ist es 👍"
    assert (found.counts.faults, found.counts.untranslated) == (1, 0)


def test_a_final_without_a_translation_is_its_source_and_is_no_context() -> None:
    found = stream("names", "low")
    source = Source(f"{BABBLE} is said 👍", 9, is_open=False, is_final=True)
    (job,), _ = found.revise([source], 1, 1.0)
    again = found.complete(job, ids(translation_of(job.text)), is_whole=True)
    assert again is not None
    assert found.complete(again, ids(translation_of(again.text)), is_whole=True) is None
    assert found.take(2.0)[0] == f"{BABBLE} is said 👍"
    assert (found.counts.faults, found.counts.untranslated, found.remember()) == (2, 1, [])


LOOP = "und so " * 40
SENTENCE = "we walk home in the rain today, and then we rest for a while 👍"


def as_whole(text: str, answers: list[str]) -> str:
    """Translate a text at once with these answers."""
    whole = Whole(text, hygiene("names"))
    for part in whole.parts():
        exchange = Exchange(hygiene("names"), part.source, "en")
        while exchange.shown is not None:
            exchange.take(answers.pop(0))
        part.text = exchange.text
    return whole.take_ready()


def live(text: str, answers: list[str]) -> TargetStream:
    """Translate a segment with these answers."""
    found = stream("names", "low")
    cuts = hygiene("names").cut(text)
    jobs, _ = found.revise([Source(c.text, 99, is_open=False, is_final=True) for c in cuts], 1, 1.0)
    while jobs:
        following = found.complete(jobs.pop(0), ids(answers.pop(0)), is_whole=True)
        jobs[:0] = [] if following is None else [following]
    found.take(2.0)
    assert found.is_done
    return found


@pytest.mark.parametrize(
    ("text", "answers", "wanted"),
    [
        (
            "We go now 👍 he can rest",
            ["Wir gehen", "Und er ruht."],
            "Wir gehen 👍 und er ruht.",
        ),
        ("We go now 👍 and rest", ["Wir gehen nun und ruhen."], "Wir gehen nun 👍 und ruhen."),
        ("We go now 👍 Anna can rest", ["Wir gehen", "Anna ruht."], "Wir gehen 👍 Anna ruht."),
        ("It is a gadget", ["Es ist *ein* Gerät* dort"], "Es ist ein Gerät dort"),
        (
            SENTENCE,
            [LOOP, LOOP, "Wir gehen heute im Regen heim.", "Und dann ruhen wir eine Weile."],
            "Wir gehen heute im Regen heim und dann ruhen wir eine Weile. 👍",
        ),
    ],
)
def test_live_text_is_what_the_whole_text_is(text: str, answers: list[str], wanted: str) -> None:
    assert as_whole(text, list(answers)) == wanted
    assert live(text, answers).committed == wanted
    assert answers == []


def test_halves_that_are_no_translations_leave_the_source() -> None:
    found = live(SENTENCE, [LOOP] * 20)
    assert found.committed == SENTENCE
    assert (found.counts.untranslated, found.remember()) == (1, [])


def test_what_stands_before_a_text_stays_in_sight_while_its_words_are_awaited() -> None:
    found = stream("names", "low")
    assert found.revise([Source("[applause]", 1)], 1, 1.0) == ([], [])
    assert found.take(1.0)[1] == "[Applaus]"
    (job,), _ = found.revise([Source("[applause] Thank you", 3)], 2, 2.0)
    assert found.take(2.0) == ("", "[Applaus]", False)
    answer(found, job, set())
    assert found.take(3.0)[1] == "[Applaus] Thank you"
