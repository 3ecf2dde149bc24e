"""The one contract of a backend: a ragged step.

A step takes T tokens, each with a slot and a position. It writes their keys and values to the
preallocated cache, lets each token attend to its own slot up to and including its own position, and
returns the next token of the rows that want one. Prefill, verification of a draft and decoding are
the same step with other rows.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tokenspeed.model.config import ModelConfig

NO_DRAFT = -1
ANY_TOKEN = -1  # in `Step.stops`


@dataclass(frozen=True)
class Step:
    """One ragged batch.

    The tokens of one slot come in ascending, gapless positions, and everything before the first of
    them is already in the cache. Slots may follow each other in any order.

    Attributes:
        tokens, slots, positions: [T] int32.
        outputs: [R] int32, ascending indices into the T rows whose next token is wanted. May be
            empty.
        drafts: [R] int32, the token that the caller expects after that row, or NO_DRAFT.
        biases: [R] float32 in [0, 1), how much the draft is favoured; 0 is plain greedy decoding.
        stops: [S, 2] int32, when the caller will not simply decode all rows on: a row's own token,
            or ANY_TOKEN, and the token that is chosen after it. None: it will not in any case.
            Changes no result; a device may begin the next step before this one has been read.
        num_ends: in a step of one slot that verifies a draft, or computes a prompt: how many of the
            first stops hold behind any output. The i-th of the others, from 0 on, holds where the
            draft was refuted at its i-th token or before. The caller goes on behind the first
            output that is not its draft; if there is none, not simply. None: it decodes all rows
            on.
    """

    tokens: NDArray[np.int32]
    slots: NDArray[np.int32]
    positions: NDArray[np.int32]
    outputs: NDArray[np.int32]
    drafts: NDArray[np.int32]
    biases: NDArray[np.float32]
    stops: NDArray[np.int32] | None = None
    num_ends: int | None = None


class Backend(Protocol):
    """Weights on a device, KV slots allocated once, and the step over them.

    Invariance: the result of a row depends only on the tokens of its slot up to its position and on
    its own draft and bias. It does not depend on the other rows, their number, or on which step
    computed the cached keys and values: bit for bit.
    """

    name: str  # "reference", "cpu", "cuda"
    config: ModelConfig
    num_slots: int
    max_length: int  # positions of one slot
    max_step_tokens: int  # widest step
    weight_bytes: int  # bytes of weights that one step reads, LM head included
    cache_bytes: int

    @property
    def was_ahead(self) -> bool:
        """Whether the last step had been launched before it was asked for.

        It then began when the one before it ended.
        """
        ...

    @property
    def guessed(self) -> NDArray[np.int32] | None:
        """What is expected behind each token that the last step chose: [R] int32.

        Guesses for the next step to verify; they depend on what the slots held before, results do
        not. None: this backend, or its model, does not guess.
        """
        ...

    def step(self, batch: Step) -> NDArray[np.int32]:
        """Run one step.

        Returns:
            [R] int32: for each row of `outputs` the token with the highest logit (the lowest id on
            a tie); with a bias above 0, its draft where softmax(best) - softmax(draft) <=
            bias / (1 - bias), which is the argmax of (1 - bias) * p + bias * onehot(draft).
        Source: biased verification, arXiv 2509.21740.
        """
        ...

    def logits(self, batch: Step) -> NDArray[np.float32]:
        """Run one step and return the logits of the rows in `outputs`: [R, vocab_size] float32.

        For tests and evaluation; `step` never moves logits off the device.
        """
        ...

    def copy_slot(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot to another (a fork)."""
        ...

    def hold(self, is_held: bool) -> None:
        """Let no step begin before it is asked for, or again let it; callable from any thread."""
        ...

    def close(self) -> None:
        """Give threads and memory back."""
        ...
