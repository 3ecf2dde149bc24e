"""Jobs against a real engine over a small random model: nonsense, but all of the way."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from service.captions.policy import PRESETS, Source, Translation, Work
from service.captions.stream import ContextPair, Job
from service.errors import TranslationFailed
from service.translator import MIN_ROOM, Translator
from tokenspeed.engine.loading import LoadedModel, load_engine
from tokenspeed.engine.request import Request
from tokenspeed.model.config import EngineConfig

WORDS = "the train to the city leaves".split()


@pytest.fixture(scope="module")
def model(tiny_translator: Path) -> Iterator[LoadedModel]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more only wait for each other in a model this small
    found = load_engine(
        tiny_translator, device="reference", config=EngineConfig(num_slots=4, max_length=128)
    )
    yield found
    found.close()
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def translator(model: LoadedModel) -> Translator:
    return Translator(model.engine, model.tokenizer, model.prompts, 128, budget_s=0.2)


def job(work: Work, context: tuple[ContextPair, ...] = ()) -> Job:
    return Job(("s", "a", "de", 0), work, 1, 100.0, "en", "de", context)


def work(text: str, forced: tuple[int, ...] = (), draft: tuple[int, ...] = ()) -> Work:
    return Work(1, text, False, True, forced, draft, 0.0)


def test_a_request_is_due_within_the_budget(translator: Translator, model: LoadedModel) -> None:
    request, skip = translator.request(job(work(" the train", (5, 6), (7, 8))))
    assert request.prompt == model.prompts.build("the train", "en", "de", is_open=False)
    assert (request.forced, request.draft, skip) == ((5, 6), (7, 8), 0)
    assert request.deadline == pytest.approx(100.2)
    assert request.is_final


def test_context_is_forced_and_not_given_back(translator: Translator, model: LoadedModel) -> None:
    said = tuple(model.tokenizer.encode("der zug"))
    asked = job(work("the city", (5,)), (("the train.", said),))
    request, skip = translator.request(asked)
    assert request.prompt == model.prompts.build("the train. the city", "en", "de", is_open=False)
    assert (request.forced, skip) == ((*said, 5), len(said))
    (completion,) = model.engine.run([request])

    async def outcome() -> tuple[int, ...]:
        return (await translator.start(asked).outcome()).tokens

    assert asyncio.run(outcome()) == completion.tokens[len(said) :]


def test_context_gives_way_to_a_long_text(translator: Translator) -> None:
    pairs = (("the train " * 8, (7,) * 110), ("the city", (5, 6)))
    request, skip = translator.request(job(work("the city"), pairs))
    assert (request.forced, skip) == ((5, 6), 2)
    with pytest.raises(TranslationFailed, match="does not fit"):
        translator.request(job(work("the city " * 60)))


def test_a_draft_and_a_stream_change_nothing_in_the_final(
    translator: Translator, model: LoadedModel
) -> None:
    """What the policy settles along the way is all that a final knows of the way."""

    async def stream(preset: str) -> tuple[Translation, tuple[int, ...]]:
        translation = Translation(PRESETS[preset], translator.token_text)
        for n in range(1, len(WORDS)):
            wanted = translation.revise(Source(" ".join(WORDS[:n]), n))
            if wanted is not None:
                running = translator.start(job(wanted))
                async for tokens in running.outputs():
                    assert tokens[: len(wanted.forced)] == wanted.forced
                    translation.progress(wanted.number, tokens)
                outcome = await running.outcome()
                translation.complete(wanted.number, outcome.tokens, is_whole=outcome.is_whole)
        forced = translation.committed
        wanted = translation.revise(Source(" ".join(WORDS), 99, is_open=False, is_final=True))
        assert wanted is not None
        assert wanted.draft
        outcome = await translator.start(job(wanted)).outcome()
        translation.complete(wanted.number, outcome.tokens)
        assert translation.committed == outcome.tokens
        return translation, forced

    for preset in ("balanced", "append_only"):
        translation, forced = asyncio.run(stream(preset))
        request, _ = translator.request(job(work(" ".join(WORDS), forced)))
        (greedy,) = model.engine.run([replace(request, draft=(), key=None)])
        assert translation.committed == greedy.tokens
        assert translation.committed_text == translator.token_text(greedy.tokens)[0]


def test_whole_texts_are_translated_piece_by_piece(
    translator: Translator, model: LoadedModel
) -> None:
    found = asyncio.run(translator.whole("The train leaves. Where is it?", "en", "de"))
    parts = []
    for text in ("The train leaves.", "Where is it?"):
        prompt = model.prompts.build(text, "en", "de", is_open=False)
        (completion,) = model.engine.run(
            [Request(prompt, max_new_tokens=int(len(prompt) * 2) + 10)]
        )
        parts.append(translator.token_text(completion.tokens)[0])
    assert found == " ".join(parts)
    with pytest.raises(TranslationFailed, match="does not fit"):
        asyncio.run(translator.whole("👍🏽" * 100, "en", "de"))
    assert MIN_ROOM > 0


@given(st.data())
def test_text_of_ids_grows_by_whole_characters(
    translator: Translator, model: LoadedModel, data: st.DataObject
) -> None:
    ids = data.draw(st.lists(st.integers(0, model.tokenizer.vocab_size - 1), max_size=20))
    text, offsets = translator.token_text(ids)
    assert len(offsets) == len(ids) + 1
    assert offsets == sorted(offsets)
    assert offsets[-1] == len(text)
    for n in range(len(ids)):
        assert text.startswith(translator.token_text(ids[:n])[0])


def test_the_model_tells_its_pairs(translator: Translator) -> None:
    info = translator.model_info("tiny")
    assert [language.code for language in info.languages] == ["de", "en", "es", "fr"]
    assert info.languages[1].targets == ("de", "es", "fr")
    assert info.translates(None, "de")
    assert not info.translates("fr", "de")
