"""The ranks of a group, each in a process of its own on Triton's interpreter.

As on GPUs they run the very kernels and push words into each other's inboxes, which are memory that
the processes share. (Triton's interpreter cannot run two kernels at once in one process.)
"""

from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing

from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.cuda_group import CudaGroup, group_of
from tokenspeed.backends.cuda_weights import load_weights
from tokenspeed.kernels.exchange import join
from tokenspeed.model import mtp
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.mtp import MTP_FILE
from tokenspeed.model.sharding import Shard

# Forked from a process that has imported this module already: importing torch and Triton in each
# rank takes longer than most of its steps. Not forked from this one, whose threads may hold locks.
_CONTEXT = torch.multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


ANSWERED = ("finish", "finish_guesses", "has_ended", "logits")


class RankProcess:
    """A rank behind a pipe; begins what it is told and answers when it is finished."""

    launches_ahead = guesses = False

    def __init__(
        self, model: Path, form: str, config: EngineConfig, rank: int, inboxes: list[torch.Tensor]
    ) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        args = (theirs, model, form, config, rank, inboxes)
        self.process = _CONTEXT.Process(target=_run_rank, args=args, daemon=True)
        self.process.start()
        theirs.close()

    def learn(self) -> "RankProcess":
        """Wait until it is there."""
        sizes = self._pipe.recv()
        self.num_slots, self.max_length, self.max_step_tokens = sizes[:3]
        self.weight_bytes, self.cache_bytes, self.guesses = sizes[3:]
        return self

    def _ask(self, name: str, *arguments: Any) -> Any:
        self._pipe.send((name, *arguments))
        return self._pipe.recv()

    def begin(self, batch: Any, written: Any = None) -> None:
        self._pipe.send(("begin", batch))

    def may_follow(self, rows: int) -> bool:
        return self.launches_ahead

    def follow(self, rows: int, *, is_behind_draft: bool = False) -> None:
        self._pipe.send(("follow", rows, {"is_behind_draft": is_behind_draft}))

    def finish(self, outputs: int) -> Any:
        return self._ask("finish", outputs)

    def finish_guesses(self, outputs: int) -> Any:
        return self._ask("finish_guesses", outputs)

    def has_ended(self) -> bool:
        return bool(self._ask("has_ended"))

    def drop(self) -> None:
        self._pipe.send(("drop",))

    def hold(self, is_held: bool) -> None:
        self._pipe.send(("hold", is_held))

    def make_logits(self, batch: Any) -> None: ...
    def launch_logits(self, batch: Any, out: Any) -> None:
        self._pipe.send(("logits", batch))

    def finish_logits(self, out: Any) -> Any:
        return self._pipe.recv()

    def copy_slot(self, source: int, target: int, length: int) -> None:
        self._pipe.send(("copy_slot", source, target, length))

    def forgive(self) -> None:
        self._pipe.send(("forgive",))

    def close(self) -> None:
        self._pipe.close()  # it ends by itself
        self.process.join(10)


def open_group(model: Path, form: str, config: EngineConfig, count: int) -> CudaGroup:
    """Start the ranks of a checkpoint, and put them together as a backend."""
    whole = open_checkpoint(model).config
    has_mtp = (model / MTP_FILE).exists()
    words = group_of(0, count, whole, config, has_mtp=has_mtp).inbox_words
    inboxes = [torch.zeros(words, dtype=torch.int64) for _ in range(count)]
    for inbox in inboxes:
        inbox.share_memory_()  # type: ignore[no-untyped-call]
    ranks: Sequence[RankProcess] = [
        RankProcess(model, form, config, rank, inboxes) for rank in range(count)
    ]
    return CudaGroup([rank.learn() for rank in ranks], whole)


def _run_rank(
    pipe: Connection,
    model: Path,
    form: str,
    config: EngineConfig,
    rank: int,
    inboxes: list[torch.Tensor],
) -> None:
    import tests.tokenspeed.conftest  # noqa: F401  the interpreter, made faster

    mtp.MIN_GUESSED_WEIGHTS = 0  # models of tests are small
    torch.set_num_threads(1)
    checkpoint, count = open_checkpoint(model), len(inboxes)
    weights = load_weights(checkpoint.part(Shard(rank, count)), form, "cpu")
    has_mtp = weights.mtp is not None
    group = group_of(rank, count, checkpoint.config, config, has_mtp=has_mtp)
    member = join(group, inboxes, "cpu")
    backend = CudaBackend(weights, config, member=member)
    pipe.send(
        (
            *(backend.num_slots, backend.max_length, backend.max_step_tokens),
            *(backend.weight_bytes, backend.cache_bytes, backend.guesses),
        )
    )
    while True:
        try:
            name, *arguments = pipe.recv()
        except EOFError:
            return
        named = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
        answer = getattr(backend, name)(*arguments, **named)
        if name in ANSWERED:
            pipe.send(answer)
