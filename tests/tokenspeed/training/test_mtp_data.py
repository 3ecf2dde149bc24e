"""What an MTP layer learns from: captions of a corpus, the model's own answers, whole batches."""

import random
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.tokenspeed.training.conftest import toy_pairs
from tokenspeed.model.config import ModelConfig
from tokenspeed.model.decode import BatchDecoder
from tokenspeed.training.mtp_data import (
    HELD_OUT,
    Caption,
    Captions,
    Speaker,
    _longest_prompt,
    _usual_batch,
    batches,
    make_caption,
    mtp_shapes,
)
from tokenspeed.training.packing import Sequenced


def captions(*texts: str, is_open: bool = False) -> list[Caption]:
    return [Caption(text, "en", "de", is_open, is_held_out=False) for text in texts]


def test_captions_are_cut_and_spoken_as_often_as_they_should_be() -> None:
    rng, text = random.Random(0), "The train, I hear, is late again."
    made = [make_caption(text, "en", "de", rng) for _ in range(2000)]
    lowered = text.lower()
    spoken = [c for c in made if c.text[0] == "t"]
    cut = [c for c in made if c.is_open]
    assert 0.57 < len(cut) / len(made) < 0.63
    assert 0.27 < len(spoken) / len(made) < 0.33
    assert all(not set(c.text) & set(",.") and c.text == c.text.lower() for c in spoken)
    assert all((len(c.text.split()) < 7) == c.is_open for c in made)
    assert {len(c.text.split()) for c in cut} == {1, 2, 3, 4, 5, 6}
    plain = lowered.replace(",", "").replace(".", "")
    assert all(text.startswith(c.text) or plain.startswith(c.text) for c in made)


def test_a_single_word_is_never_cut() -> None:
    rng = random.Random(0)
    assert not any(make_caption("Yes.", "en", "de", rng).is_open for _ in range(50))


def test_a_sentence_is_held_out_however_it_is_cut_and_in_all_directions() -> None:
    rng = random.Random(0)
    texts = [f"This is sentence {number}." for number in range(4000)]
    held = {
        text
        for text in texts
        if make_caption(text, "en", "de", rng).is_held_out
        and make_caption(text, "en", "fr", rng).is_held_out
    }
    assert 0.5 < len(held) * HELD_OUT / len(texts) < 1.5
    rest = [text for text in texts if text not in held]
    assert not any(make_caption(text, "en", "es", rng).is_held_out for text in rest)


def test_a_corpus_is_told_in_both_directions_and_again_in_the_same_order(toy_corpus: Path) -> None:
    all_of_it = Captions(toy_corpus, ["de"], seed=1)
    made = list(all_of_it)
    english, foreign = ({pair[side] for pair in toy_pairs()[10:]} for side in (0, 1))
    assert len(all_of_it) == len(made) == len(english) + len(foreign)
    assert {(c.source, c.target) for c in made} == {("en", "de"), ("de", "en")}
    assert list(all_of_it) == list(Captions(toy_corpus, ["de"], seed=1)) == made
    assert list(Captions(toy_corpus, ["de"], seed=2)) != made


def test_a_corpus_without_the_language_is_told(toy_corpus: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"en-fr\.train"):
        Captions(toy_corpus, ["fr"])


def test_an_example_is_the_prompt_of_the_service_and_the_answer_of_the_model(
    brief_translator: Path, toy_corpus: Path
) -> None:
    speaker = Speaker(brief_translator, "cpu", batch_size=16)
    asked = list(islice(Captions(toy_corpus, ["de"]), 40))
    examples = speaker.examples(asked)
    assert any(examples)
    build = speaker.prompts.build
    prompts = [build(c.text, c.source, c.target, is_open=c.is_open) for c in asked]
    (end,) = speaker.ends
    answers = BatchDecoder(speaker.llama, end).greedy_with_margins(prompts)
    for prompt, answer, example in zip(prompts, answers, examples, strict=True):
        if example is None:
            assert not answer.is_whole
        else:
            assert example == Sequenced((*prompt, *answer.tokens, end), len(prompt))


def test_a_prompt_that_is_too_long_is_left_out(brief_translator: Path) -> None:
    speaker = Speaker(brief_translator, "cpu", batch_size=16)
    longest = _longest_prompt(speaker.llama.config)
    short, long = speaker.examples(captions("a city", "city " * longest))
    assert short is not None
    assert long is None


def test_prompts_and_outputs_fit_the_positions_of_a_model() -> None:
    for positions, window in ((1024, 0), (256, 0), (2048, 256)):
        config = ModelConfig(
            40, 32, 64, 2, 4, 2, 8, max_position_embeddings=positions, window=window
        )
        longest = _longest_prompt(config)
        # As the decoder counts them.
        assert longest + (2 * longest + 10) + 4 + 15 < min(positions, window or positions)
    assert _longest_prompt(ModelConfig(40, 32, 64, 2, 4, 2, 8)) == 256


def test_of_several_end_marks_the_usual_one_ends_the_decoding(brief_translator: Path) -> None:
    asked = captions("the city", "my sister is here", "today", "the train was old")
    told = [e for e in Speaker(brief_translator, "cpu").examples(asked) if e]
    speaker = Speaker(brief_translator, "cpu")
    usual = speaker.decoder.eos
    # A model whose config names another id first, which it never says.
    speaker.decoder.eos, speaker.ends = 5, frozenset((5, usual))
    speaker._is_probed = False
    assert [e for e in speaker.examples(asked) if e] == told
    assert speaker.decoder.eos == usual


def test_a_pair_that_the_model_does_not_translate_is_told(brief_translator: Path) -> None:
    with pytest.raises(ValueError, match="from en to it is not supported"):
        Speaker(brief_translator, "cpu").examples([Caption("Yes.", "en", "it", False, False)])


def test_a_large_model_translates_fewer_at_one_time() -> None:
    default = ModelConfig(17024, 512, 1536, 10, 8, 4, 64)
    large = ModelConfig(128256, 4096, 14336, 32, 32, 8, 128)
    assert _usual_batch(default, "cuda") == 2048
    assert 256 < _usual_batch(large, "cuda") < 512
    assert _usual_batch(large, "cpu") == 64


def test_batches_hold_every_example_once() -> None:
    rng, shapes = random.Random(0), mtp_shapes(256)
    examples = []
    for number in range(200):
        ids = tuple(rng.randrange(3, 40) for _ in range(rng.randrange(4, 60)))
        examples.append(Sequenced((number, *ids), rng.randrange(2, len(ids))))
    made = list(batches(examples, shapes, np.random.default_rng(0)))
    firsts = [
        int(batch.tokens[start])
        for batch in made
        for start in batch.borders[: batch.num_examples].tolist()
    ]
    assert sorted(firsts) == list(range(200))
    assert firsts != sorted(firsts)
    assert all(len(batch.tokens) == 256 and len(batch.rows) == 128 for batch in made)
    assert {len(batch.borders) for batch in made} == {shapes.documents + 1}
    # No batch could have taken the next example as well: it was full in one way.
    for batch, following in zip(made, made[1:], strict=False):
        length = int(following.borders[1])
        outputs = int((following.rows[: following.num_targets] < length).sum())
        assert (
            batch.num_tokens + length > shapes.tokens
            or batch.num_targets + outputs > shapes.targets
            or batch.num_examples == shapes.documents - 1
        )


def test_what_fits_in_no_batch_is_left_out() -> None:
    shapes = mtp_shapes(64)
    long, wordy = Sequenced((3,) * 65, 60), Sequenced((3,) * 60, 20)
    (batch,) = batches([long, Sequenced((3, 4, 5, 2), 2), wordy], shapes, np.random.default_rng(0))
    assert batch.num_examples == 1
    assert list(batches([], shapes, np.random.default_rng(0))) == []


def test_a_batch_of_short_examples_is_full_before_its_tokens_are() -> None:
    shapes = mtp_shapes(256)
    made = list(batches([Sequenced((3, 4, 5, 2), 2)] * 50, shapes, np.random.default_rng(0)))
    # One document is left for padding.
    assert [batch.num_examples for batch in made] == [shapes.documents - 1] * 2 + [8]
