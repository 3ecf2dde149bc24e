"""Jobs against a real engine over a small random model: nonsense, but all of the way."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.captions.job import ContextPair, Job, JobKey, Outcome
from service.captions.policy import PRESETS, Source, Translation
from service.errors import TranslationFailed
from service.translator import MAX_AHEAD, MIN_ROOM, TextOptions, Translator
from tests.service.fakes import BABBLE, FakeEngine, FakePrompts, FakeTokenizer
from tokenspeed.engine.loading import LoadedModel, load_engine
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.profile import Profile, read_profile
from tokenspeed.model.prompt import FrameFormat
from tokenspeed.text.answer import Answer
from tokenspeed.text.glossary import Term

WORDS = "the train to the city leaves".split()


@pytest.fixture(scope="module")
def model(tiny_translator: Path) -> Iterator[LoadedModel]:
    found = load_engine(
        tiny_translator, device="reference", config=EngineConfig(num_slots=4, max_length=128)
    )
    yield found
    found.close()


@pytest.fixture(scope="module")
def translator(model: LoadedModel) -> Translator:
    return Translator(model.engine, model.tokenizer, model.prompts, 128, budget_s=0.2)


def job(
    text: str,
    forced: tuple[int, ...] = (),
    draft: tuple[int, ...] = (),
    context: tuple[ContextPair, ...] = (),
) -> Job:
    return Job(
        JobKey("s", "a", "de", 0), 1, text, is_open=False, is_final=True, forced=forced,
        draft=draft, bias=0.0, rev=1, arrival_s=100.0, source_language="en", context=context,
    )  # fmt: skip


async def run(translator: Translator, job: Job) -> tuple[list[tuple[int, ...]], Outcome]:
    """Return the outputs on the way, and how the job ended."""
    ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    outputs: list[tuple[int, ...]] = []

    def follow(tokens: tuple[int, ...], ending: Outcome | TranslationFailed | None) -> None:
        outputs.append(tokens)
        if isinstance(ending, TranslationFailed):
            ended.set_exception(ending)
        elif ending is not None:
            ended.set_result(ending)

    translator.start(job, follow)
    return outputs, await ended


def test_a_request_is_due_within_the_budget(translator: Translator, model: LoadedModel) -> None:
    request, skip = translator.request(job(" the train", (5, 6), (7, 8)))
    assert request.prompt == model.prompts.build("the train", "en", "de", is_open=False)
    assert (request.forced, request.draft, skip) == ((5, 6), (7, 8), 0)
    assert request.deadline_s == pytest.approx(100.2)
    assert request.is_final


def test_context_is_forced_and_not_given_back(translator: Translator, model: LoadedModel) -> None:
    said = tuple(model.tokenizer.encode("der zug"))
    asked = job("the city", (5,), context=(("the train.", said),))
    request, skip = translator.request(asked)
    assert request.prompt == model.prompts.build("the train. the city", "en", "de", is_open=False)
    assert (request.forced, skip) == ((*said, 5), len(said))
    (completion,) = model.engine.run([request])

    outputs, outcome = asyncio.run(run(translator, asked))
    assert outputs[-1] == outcome.tokens == completion.tokens[len(said) :]


def test_context_gives_way_to_a_long_text(translator: Translator) -> None:
    pairs = (("the train " * 8, (7,) * 110), ("the city", (5, 6)))
    request, skip = translator.request(job("the city", context=pairs))
    assert (request.forced, skip) == ((5, 6), 2)
    with pytest.raises(TranslationFailed, match="does not fit"):
        translator.request(job("the city " * 60))


def test_a_model_that_is_told_of_context_is_not_made_to_say_it_again(
    model: LoadedModel, tmp_path: Path
) -> None:
    path = tmp_path / "told.toml"
    path.write_text(
        'title = "Told"\n[prompt]\nmessage = "{target}: {text}"\ncontext = 2\n'
        'message_context = "({context}) {target}: {text}"\n[languages]\ncodes = ["en", "de"]\n'
    )
    prompts = FrameFormat(model.tokenizer, read_profile(path))
    translator = Translator(model.engine, model.tokenizer, prompts, 60, budget_s=0.2)
    assert translator.model_info("told").max_context == 2
    asked = job("the city", (5,), context=(("the train.", (6, 7)), ("it leaves.", (8,))))
    build = partial(prompts.build, "the city", "en", "de", is_open=False)
    request, skip = translator.request(asked)
    assert (request.prompt, request.forced, skip) == (
        build(context=("the train.", "it leaves.")),
        (5,),
        0,
    )
    # What was committed of its own sentence is gone on from, as before.
    request, skip = translator.request(replace(asked, continues=True))
    whole = prompts.build("the train. it leaves. the city", "en", "de", is_open=False)
    assert (request.prompt, request.forced, skip) == (whole, (6, 7, 8, 5), 3)
    # The oldest gives way first.
    long = replace(asked, context=(("the train " * 40, (6,)), asked.context[1]))
    assert translator.request(long)[0].prompt == build(context=("it leaves.",))


def test_a_draft_and_a_stream_change_nothing_in_the_final(
    translator: Translator, model: LoadedModel
) -> None:
    """What the policy commits along the way is all that a final knows of the way."""

    def known(wanted: Job) -> Job:
        return replace(wanted, arrival_s=100.0, source_language="en")

    async def stream(preset: str) -> tuple[Translation, tuple[int, ...]]:
        translation = Translation(job("").key, PRESETS[preset], translator.new_detokenizer())
        for n in range(1, len(WORDS)):
            wanted = translation.revise(Source(" ".join(WORDS[:n]), n))
            if wanted is not None:
                outputs, outcome = await run(translator, known(wanted))
                for tokens in outputs[:-1]:
                    assert tokens[: len(wanted.forced)] == wanted.forced
                    translation.progress(wanted.number, tokens)
                translation.complete(wanted.number, outcome.tokens, is_whole=outcome.is_whole)
        forced = translation.committed
        wanted = translation.revise(Source(" ".join(WORDS), 99, is_open=False, is_final=True))
        assert wanted is not None
        assert wanted.draft
        _, outcome = await run(translator, known(wanted))
        translation.complete(wanted.number, outcome.tokens)
        assert translation.committed == outcome.tokens
        return translation, forced

    for preset in ("balanced", "append_only"):
        translation, forced = asyncio.run(stream(preset))
        request, _ = translator.request(job(" ".join(WORDS), forced))
        (greedy,) = model.engine.run([replace(request, draft=(), key=None)])
        assert translation.committed == greedy.tokens
        assert translation.committed_text == translator.new_detokenizer()(greedy.tokens)[0]


def test_whole_texts_are_translated_piece_by_piece(
    translator: Translator, model: LoadedModel
) -> None:
    cuts: list[None] = []
    whole = translator.whole(
        "The train leaves. Where is it?", "en", "de", TextOptions(on_cut=lambda: cuts.append(None))
    )
    found = asyncio.run(whole)
    # What this model says of anything is nonsense without an end: the text is left as it is.
    assert found == "The train leaves. Where is it?"
    assert len(cuts) == 2
    with pytest.raises(TranslationFailed, match="does not fit"):
        asyncio.run(translator.whole(("ŵŷ" * 45 + " ") * 4, "en", "de"))
    assert MIN_ROOM > 0


async def test_a_long_text_waits_as_text_and_leaves_nothing_behind() -> None:
    engine = FakeEngine()
    translator = Translator(engine, FakeTokenizer(), FakePrompts(), 4096, budget_s=0.2)
    found = await translator.whole("We go home. " * 500, "en", "de")
    assert found == "WE GO HOME. " * 500
    assert len(engine.requests) == 500

    engine = FakeEngine(delay_s=30)
    translator = Translator(engine, FakeTokenizer(), FakePrompts(), 4096, budget_s=0.2)
    waiting = asyncio.create_task(translator.whole("We go home. " * 500, "en", "de"))
    while len(engine.running) < MAX_AHEAD:  # noqa: ASYNC110 - a piece at a time
        await asyncio.sleep(0)
    for _ in range(2 * MAX_AHEAD):
        await asyncio.sleep(0)
    assert len(engine.running) == MAX_AHEAD
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert len(engine.requests) == MAX_AHEAD
    assert engine.running == {}


@given(st.data())
def test_text_of_ids_grows_by_whole_characters(
    translator: Translator, model: LoadedModel, data: st.DataObject
) -> None:
    ids = data.draw(st.lists(st.integers(0, model.tokenizer.vocab_size - 1), max_size=20))
    text, offsets = translator.new_detokenizer()(ids)
    assert len(offsets) == len(ids) + 1
    assert offsets == sorted(offsets)
    assert offsets[-1] == len(text)
    for n in range(len(ids)):
        assert text.startswith(translator.new_detokenizer()(ids[:n])[0])


def test_the_model_tells_its_pairs(translator: Translator) -> None:
    info = translator.model_info("tiny")
    assert [language.code for language in info.languages] == ["de", "en", "es", "fr"]
    assert info.languages[1].targets == ("de", "es", "fr")
    assert info.languages[1].pivot_targets == ()
    assert info.languages[0].targets == ("en", "es", "fr")
    assert info.languages[0].pivot_targets == ("es", "fr")
    assert info.translates(None, "de")
    assert info.translates("fr", "de")
    assert info.translates("de", "de")
    assert not info.translates("fr", "it")
    assert not info.translates("it", "it")
    assert info.language_of("Wir haben neue Kunden gewonnen.", "en") == "de"


async def test_an_unclear_text_goes_through_english_where_it_likely_needs_to() -> None:
    engine = FakeEngine()
    translator = Translator(engine, FakeTokenizer(), FakePrompts(), 4096, budget_s=0.2)
    for text, target, passes in (
        ("Demain matin", "es", 2),
        ("Demain matin", "fr", 1),
        ("Taxi", "es", 1),
    ):
        before = len(engine.requests)
        await translator.whole(text, None, target)
        assert len(engine.requests) - before == passes


async def test_a_text_that_has_no_translation_stays_and_is_told() -> None:
    translator = Translator(FakeEngine(), FakeTokenizer(), FakePrompts(), 4096, budget_s=0.2)
    told: list[tuple[str, int, int]] = []
    translator.on_faults = lambda *found: told.append(found)
    text = f"{BABBLE} it is. 👍\n  We go home."
    assert await translator.whole(text, "en", "de") == f"{BABBLE} it is. 👍\n  WE GO HOME."
    assert set(told) == {("de", 0, 0), ("de", 2, 1)}


async def test_what_a_model_says_beside_the_translation_is_left_out() -> None:
    prompts = FakePrompts()
    prompts.answer = Answer(("\n",), has_chatter=True)
    said = "Here is the translation:\n\nGUTEN TAG"
    engine = FakeEngine(says={"formal": said + "\n\nNote: formal."})
    translator = Translator(engine, FakeTokenizer(), prompts, 4096, budget_s=0.2)
    options = TextOptions(formality="formal")
    assert await translator.whole("good day", "en", "de", options) == "GUTEN TAG"
    (_, outcome) = await run(translator, replace(job("good day"), formality="formal"))
    assert translator.new_detokenizer()(outcome.tokens)[0] == "GUTEN TAG"


async def test_a_glossary_is_told_to_a_model_that_no_names_stand_in_for() -> None:
    prompts = FakePrompts()
    prompts.profile = Profile("fake", "Fake", has_placeholders=False)
    told: list[object] = []
    build = prompts.build

    def told_build(*args: Any, terms: object = (), **named: Any) -> tuple[int, ...]:
        told.append(terms)
        return build(*args, **named)

    prompts.build = told_build  # type: ignore[method-assign]
    engine = FakeEngine()
    translator = Translator(engine, FakeTokenizer(), prompts, 4096, budget_s=0.2)
    options = TextOptions(terms=(Term("ticket", "KARTE"),))
    assert await translator.whole("two tickets please", "en", "de", options)
    assert told[0] == (("tickets", "KARTE"),)
    assert "tickets" in "".join(map(chr, engine.requests[0].prompt[1:-1]))
