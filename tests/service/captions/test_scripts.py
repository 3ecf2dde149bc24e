"""Text of any script: words and cuts at whole characters, joined the right way round."""

import itertools

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from service.captions.job import JobKey
from service.captions.policy import PRESETS, Preset, Source, Translation
from service.captions.stream import TargetStream
from tests.service.fakes import ids, new_detokenizer, token_text
from tokenspeed.text.segmenter import cut, cutting_at
from tokenspeed.text.steps import at_once
from tokenspeed.text.words import word_ends

SAMPLES = {
    "chinese": "我们今天去。他们明天来！",
    "japanese": "今日は東京へ行きます。明日は来ません。",
    "thai": "สวัสดีครับ วันนี้เป็นอย่างไรบ้าง",
    "arabic": "مرحبا بالعالم، كيف حالك اليوم؟",
    "hebrew": "שלום עולם, מה שלומך היום?",
    "hindi": "नमस्ते दुनिया, क्षमा कीजिए।",
    "korean": "안녕하세요 여러분, 반갑습니다.",
    "combining": "cafe\u0301 a\u0308rger n\u0303 u\u0328\u0301",
    "emoji": "ok 👩\u200d👩\u200d👧 👍🏽 🇩🇪🇫🇷 ❤\ufe0f 1\ufe0f\u20e3 end",
    "mixed": "wir sagen 'مرحبا' und 你好 👋🏿!",
}
CHARACTERS = sorted({c for text in SAMPLES.values() for c in regex.findall(r"\X", text)})
TEXTS = st.lists(st.sampled_from(CHARACTERS), max_size=25).map("".join)

KEY = JobKey("s", "a", "de", 0)


def character_ends(text: str) -> set[int]:
    return {0, *itertools.accumulate(len(cluster) for cluster in regex.findall(r"\X", text))}


@given(TEXTS)
def test_words_end_where_characters_do(text: str) -> None:
    assert set(word_ends(text)) <= character_ends(text)


@given(TEXTS, st.integers(1, 30))
def test_cuts_fall_between_characters(text: str, limit: int) -> None:
    assert set(itertools.accumulate(len(piece) for piece in cut(text))) <= character_ends(text)
    longest = max((len(cluster) for cluster in regex.findall(r"\X", text)), default=0)
    if text and longest <= limit:
        assert at_once(cutting_at(text, limit)) in character_ends(text)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_growing_translation_is_shown_and_committed_in_whole_characters(
    name: str, preset: str
) -> None:
    """Ids are code points here, so that every cluster could be torn apart."""
    said = " ".join([SAMPLES[name]] * 2)
    translation = Translation(KEY, PRESETS[preset], token_text)
    count = len(word_ends(said)) + 3
    for n in range(1, count):
        output = said[: word_ends(said)[min(n, len(word_ends(said))) - 1]]
        work = translation.revise(Source(" ".join(["word"] * n), n))
        if work is not None:
            translation.complete(work.number, ids(output))
        for text in (translation.shown, translation.committed_text):
            assert said.startswith(text)
            assert len(text) in character_ends(said)
    assert translation.committed_text  # all of these scripts have words that can be committed
    work = translation.revise(Source("word " * count, count, is_open=False, is_final=True))
    assert work is not None
    translation.complete(work.number, ids(said))
    assert translation.committed_text == said


@given(st.lists(st.sampled_from(["wait", "go", "see", "now"]), min_size=1, max_size=8), st.data())
def test_append_only_takes_nothing_back_in_any_script(
    words: list[str], data: st.DataObject
) -> None:
    """Whatever a model says to whatever source, what was given out is the beginning of the end."""
    stream = TargetStream("s", "a", "en", "zh", PRESETS["append_only"], new_detokenizer)
    given_out = ""
    for n in range(1, len(words) + 1):
        is_final = n == len(words)
        source = Source(" ".join(words[:n]), n, is_open=not is_final, is_final=is_final)
        jobs, _ = stream.revise([source], n, float(n))
        while jobs:
            job = jobs.pop(0)
            output = ids(data.draw(TEXTS))
            again = stream.complete(job, job.forced + output, is_whole=True)
            jobs += [] if again is None else [again]
        append, unstable, _ = stream.take(float(n))
        given_out += append
        assert unstable == ""
        assert stream.committed == given_out
    assert stream.is_done
    assert stream.erased == 0


def test_an_edit_in_the_middle_keeps_what_is_committed_and_takes_the_rest_anew() -> None:
    translation = Translation(KEY, Preset(2, 1, 0.0, 1), token_text)
    for text, output in (("a b c", "A B C"), ("a b c d", "A B C D")):
        work = translation.revise(Source(text, 4))
        assert work is not None
        translation.complete(work.number, ids(output))
    assert translation.committed_text == "A B C"
    work = translation.revise(Source("a x c d e", 5))
    assert work is not None
    assert (work.forced, work.draft) == (ids("A B C"), ids(" D"))
    translation.complete(work.number, ids("A B C, X D E"))
    work = translation.revise(Source("a x c", 3))
    assert work is not None
    translation.complete(work.number, ids("A B C, X"))
    assert translation.shown == "A B C,"
