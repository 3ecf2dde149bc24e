"""Replays in process, faster than real time: what computes runs for real, waiting is skipped.

The same sessions, policies, translator, scheduler and backend as behind the socket, on one thread
and one clock. What is missing is the wire: parsing, the outbox, the network.
"""

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.bench.captions.documents import Line, Update
from service.bench.captions.policies import Policy, in_force
from service.bench.captions.transcript import (
    Received,
    Sent,
    Transcript,
    Usage,
    client_event,
    session_params,
)
from service.captions.actions import Action, Outcome, Send, Start, Stop
from service.captions.session import Session
from service.captions.stream import Job
from service.cli import slots
from service.config import Config
from service.errors import TranslationFailed
from service.load.limits import Limits
from service.translator import Translator
from service.wire.protocol import ClientEvent, SessionClose, SessionUpdate, Timing
from tokenspeed.bench.manual_engine import SkippingClock, SteppedEngine
from tokenspeed.engine.engine import Outcome as EngineOutcome
from tokenspeed.engine.loading import BACKENDS, choose_backend
from tokenspeed.engine.request import Sequence as Running
from tokenspeed.errors import EngineStopped
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.prompt import load_prompt_format
from tokenspeed.model.tokenizer import Tokenizer

END_S: Final = 0.5  # from a speaker's last update to the end of the session

Spoken = Sequence[tuple[Sequence[Line], Sequence[Update]]]
"""The lines of each speaker, and their updates."""


@dataclass(frozen=True)
class Stage:
    """A model, and the clock that its replays run on."""

    engine: SteppedEngine
    translator: Translator
    clock: SkippingClock

    def usage(self) -> Usage:
        """Return what the engine did so far."""
        stats = self.engine.stats()
        return Usage(
            stats.requests, stats.superseded, stats.decoded, stats.accepted, stats.draft_tokens
        )

    def close(self) -> None:
        self.engine.close()


def open_stage(
    directory: Path, device: str = "auto", source: Callable[[], float] = time.perf_counter
) -> Stage:
    """Load a model for replays, with the engine's settings of a server.

    Args:
        source: of the clock, see SkippingClock.
    Raises:
        CheckpointError: the directory cannot be used.
        BackendUnavailable: the asked backend cannot run here.
    """
    server = Config()
    config = EngineConfig(num_slots=slots(server))
    tokenizer = Tokenizer.load(directory)
    prompts = load_prompt_format(directory, tokenizer)
    name = choose_backend() if device == "auto" else device
    clock = SkippingClock(source)
    engine = SteppedEngine(
        BACKENDS[name](open_checkpoint(directory), config),
        eos_token_ids=tokenizer.eos_ids,
        max_step_ms=config.max_step_ms,
        clock=clock,
    )
    translator = Translator(
        engine, tokenizer, prompts, engine.backend.max_length, server.budget_ms / 1e3
    )
    return Stage(engine, translator, clock)


def replay(
    stage: Stage, spoken: Spoken, policy: Policy, source: str, target: str
) -> tuple[list[Transcript], Usage]:
    """Let speakers talk side by side until all is translated.

    Raises:
        TranslationFailed: a piece could not be translated.
    """
    before = stage.usage()
    speakers = [Speaker(stage, i, lines) for i, (lines, _) in enumerate(spoken)]
    params = session_params(source, target, has_partials=policy.has_partials)
    start = stage.clock()
    events: list[tuple[float, int, int]] = []  # when, which speaker, which of its events
    for i, (_, updates) in enumerate(spoken):
        speakers[i].script = [
            (0.0, SessionUpdate(params)),
            *((update.at_ms / 1e3, update) for update in updates),
            (updates[-1].at_ms / 1e3 + END_S, SessionClose()),
        ]
        events += [(start + at, i, j) for j, (at, _) in enumerate(speakers[i].script)]
    heapq.heapify(events)
    with in_force(policy):
        while events or not stage.engine.is_idle:
            if stage.engine.is_idle:
                stage.clock.skip_to(min(events[0][0], *(s.next_tick() for s in speakers)))
            for speaker in speakers:
                speaker.tick()
            while events and events[0][0] <= stage.clock():
                _, i, j = heapq.heappop(events)
                speakers[i].say(speakers[i].script[j][1])
            stage.engine.turn()
    return [speaker.transcript for speaker in speakers], stage.usage() - before


class Speaker:
    """A session and what it waits for."""

    def __init__(self, stage: Stage, number: int, lines: Sequence[Line]) -> None:
        self.transcript = Transcript(lines)
        self.script: list[tuple[float, Update | ClientEvent]] = []
        self._stage = stage
        self._running: dict[tuple[str, str, str, int], Running] = {}
        translator = stage.translator
        self._session = Session(
            f"speaker-{number}",
            translator.model_info("replay"),
            Limits(),
            translator.token_text,
            stage.clock(),
        )

    def say(self, item: Update | ClientEvent) -> None:
        """Send an event."""
        now = self._stage.clock()
        if isinstance(item, Update):
            self.transcript.sent.append(Sent(now, item))
            item = client_event(item)
        self._do(self._session.receive(item, now, now))

    def next_tick(self) -> float:
        """Return when the session wants to be woken."""
        return self._session.next_tick()

    def tick(self) -> None:
        """Wake the session where that is due."""
        now = self._stage.clock()
        if self._session.next_tick() <= now:
            self._do(self._session.tick(now))

    def _do(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self.transcript.received.append(Received(self._stage.clock(), action.event))
            elif isinstance(action, Start):
                self._start(action.job)
            elif isinstance(action, Stop):
                running = self._running.pop(action.key, None)
                if running is not None:
                    self._stage.engine.withdraw(running)

    def _start(self, job: Job) -> None:
        request, skip = self._stage.translator.request(job)
        running = self._stage.engine.enqueue(request, self._follower(job, skip))
        self._running[job.key] = running

    def _follower(
        self, job: Job, skip: int
    ) -> Callable[[tuple[int, ...], EngineOutcome | None], None]:
        output = list(job.work.forced)

        def deliver(tokens: tuple[int, ...], outcome: EngineOutcome | None) -> None:
            now = self._stage.clock()
            output.extend(tokens)
            if outcome is None:
                self._do(self._session.progress(job, tuple(output), now))
                return
            if isinstance(outcome, EngineStopped):
                raise TranslationFailed("internal", str(outcome)) from outcome
            timing = Timing(
                outcome.queue_ms, outcome.compute_ms, outcome.first_token_ms, outcome.total_ms,
                outcome.accepted, outcome.decoded,
            )  # fmt: skip
            result = Outcome(
                outcome.tokens[skip:],
                is_whole=outcome.finish_reason == "stop",
                is_current=outcome.finish_reason in ("stop", "length"),
                timing=timing,
            )
            self._do(self._session.complete(job, result, now))

        return deliver
