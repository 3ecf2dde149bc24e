"""Verification without a bias is decoding from scratch: random models, random drafts, any width."""

from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import MakeModel
from tokenspeed.backends.cpu import CpuBackend
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.engine.engine import Engine
from tokenspeed.engine.request import Request
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig

SHAPES: list[dict[str, object]] = [
    {},
    {"num_key_value_heads": 4, "tie_word_embeddings": False},
    {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "num_hidden_layers": 1},
]
LENGTH = 14
TOKENS = st.integers(3, 94)


class Pair:
    """One random model twice: an engine for drafts, and one that only ever decodes."""

    def __init__(self, make_model: MakeModel, backend: str, seed: int) -> None:
        directory = make_model(seed=100 + seed, **SHAPES[seed % len(SHAPES)])
        kind = {"reference": ReferenceBackend, "cpu": CpuBackend}[backend]

        def engine(slots: int, rows: int) -> Engine:
            config = EngineConfig(num_slots=slots, max_length=64, max_step_tokens=rows)
            return Engine(kind(open_checkpoint(directory), config), eos_token_ids=[2])

        self.verifying, self.decoding = engine(3, 32), engine(1, 2)

    def close(self) -> None:
        self.verifying.close()
        self.decoding.close()


@pytest.fixture(scope="module", params=["reference", "cpu"])
def pairs(request: pytest.FixtureRequest, make_model: MakeModel) -> Iterator[list[Pair]]:
    found = [Pair(make_model, request.param, seed) for seed in range(6)]
    yield found
    for pair in found:
        pair.close()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 5),
    prompt=st.lists(TOKENS, min_size=1, max_size=10),
    cuts=st.lists(st.tuples(st.integers(0, LENGTH), st.integers(0, 3)), max_size=4),
    noise=st.lists(TOKENS, max_size=12),
    resync=st.integers(0, 3),
    forced=st.integers(0, 4),
)
def test_no_draft_changes_what_a_model_says(
    pairs: list[Pair],
    seed: int,
    prompt: list[int],
    cuts: list[tuple[int, int]],
    noise: list[int],
    resync: int,
    forced: int,
) -> None:
    pair = pairs[seed]
    (alone,) = pair.decoding.run([Request(tuple(prompt), max_new_tokens=LENGTH)])
    # A draft as revisions leave them: the truth with words put in, left out and changed.
    draft = list(alone.tokens[forced:])
    for at, left_out in cuts:
        draft[at : at + left_out] = noise[at % 3 :: 3]
    request = Request(
        tuple(prompt),
        forced=alone.tokens[:forced],
        draft=tuple(draft),
        bias=0.0,
        max_new_tokens=LENGTH,
        resync=resync,
    )
    (verified,) = pair.verifying.run([request])
    assert verified.tokens == alone.tokens


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 5),
    revisions=st.lists(st.lists(TOKENS, min_size=1, max_size=8), min_size=2, max_size=5),
)
def test_a_session_s_worth_of_hypotheses_changes_nothing(
    pairs: list[Pair], seed: int, revisions: list[list[int]]
) -> None:
    """Each output is the next one's draft, as in a session; all sides of the cache are warm."""
    pair = pairs[seed]

    @cache
    def alone(prompt: tuple[int, ...]) -> tuple[int, ...]:
        return pair.decoding.run([Request(prompt, max_new_tokens=LENGTH)])[0].tokens

    draft: tuple[int, ...] = ()
    for revision in revisions:
        prompt = tuple(revision)
        request = Request(prompt, draft=draft, max_new_tokens=LENGTH, key="segment")
        (found,) = pair.verifying.run([request])
        assert found.tokens == alone(prompt)
        draft = found.tokens
