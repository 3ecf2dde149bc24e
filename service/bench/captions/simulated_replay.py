"""Replays in process, faster than real time: computation runs for real, waiting is skipped.

The same sessions, policies, translator, scheduler and backend as behind the socket, on one thread
and one clock. What is missing is the wire: parsing, the outbox, the network.
"""

import heapq
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from service.bench.captions.documents import Line, Update
from service.bench.captions.policies import Policy, presets_of
from service.bench.captions.transcript import (
    EngineUsage,
    Received,
    Sent,
    Transcript,
    client_event,
    session_params,
)
from service.captions.actions import Close
from service.captions.job import Job, Outcome
from service.captions.policy import PRESETS, Preset
from service.captions.session import Session
from service.config import Config
from service.driver import Driver
from service.errors import TranslationFailed
from service.load.limits import Limits
from service.start import slots
from service.translator import Translator
from service.wire.protocol import ClientEvent, ServerEvent, SessionClose, SessionUpdate
from tokenspeed.bench.manual_engine import ManualEngine, SkippingClock
from tokenspeed.engine.loading import backend_of
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.prompt import load_prompt_format
from tokenspeed.model.tokenizer import Tokenizer
from tokenspeed.text.pipeline import Hygiene

END_S: Final = 0.5  # from a speaker's last update to the end of the session

Spoken = Sequence[tuple[Sequence[Line], Sequence[Update]]]
"""The lines of each speaker, and their updates."""


@dataclass(frozen=True)
class Stage:
    """A model, and the clock that its replays run on."""

    engine: ManualEngine
    translator: Translator
    clock: SkippingClock

    def usage(self) -> EngineUsage:
        """Return what the engine did so far."""
        stats = self.engine.stats()
        return EngineUsage(
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
    clock = SkippingClock(source)
    engine = ManualEngine(
        backend_of(device)(open_checkpoint(directory), config),
        eos_token_ids=tokenizer.eos_ids,
        max_step_ms=config.max_step_ms,
        clock=clock,
    )
    translator = Translator(
        engine, tokenizer, prompts, engine.backend.max_length, server.budget_ms / 1e3
    )
    return Stage(engine, translator, clock)


def replay(
    stage: Stage,
    spoken: Spoken,
    policy: Policy,
    source: str,
    target: str,
    hygiene: type[Hygiene] = Hygiene,
) -> tuple[list[Transcript], EngineUsage]:
    """Let speakers talk side by side until all is translated.

    Raises:
        TranslationFailed: a piece could not be translated.
    """
    before = stage.usage()
    presets = presets_of(policy)
    speakers = [Speaker(stage, i, lines, presets, hygiene) for i, (lines, _) in enumerate(spoken)]
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
    while events or not stage.engine.is_idle:
        if stage.engine.is_idle:
            stage.clock.skip_to(min(events[0][0], *(s.next_tick_s() for s in speakers)))
        for speaker in speakers:
            speaker.tick()
        while events and events[0][0] <= stage.clock():
            _, i, j = heapq.heappop(events)
            speakers[i].say(speakers[i].script[j][1])
        stage.engine.step()
    return [speaker.transcript for speaker in speakers], stage.usage() - before


class Speaker:
    """A session on the stage; what is sent and what comes back is its transcript.

    Args:
        stage: the model and its clock.
        number: tells speakers apart.
        lines: that are spoken.
        presets: how eager the translations are, by name.
        hygiene: how texts are cleaned.
    """

    def __init__(
        self,
        stage: Stage,
        number: int,
        lines: Sequence[Line],
        presets: Mapping[str, Preset] = PRESETS,
        hygiene: type[Hygiene] = Hygiene,
    ) -> None:
        self.transcript = Transcript(lines)
        self.script: list[tuple[float, Update | ClientEvent]] = []
        self._clock = stage.clock
        translator = stage.translator
        session = Session(
            f"speaker-{number}",
            replace(translator.model_info("replay"), hygiene=hygiene),
            Limits(),
            translator.new_detokenizer,
            stage.clock(),
            presets,
        )
        self._driver = Driver(session, translator.start, stage.clock, self)

    def say(self, item: Update | ClientEvent) -> None:
        """Send an event."""
        if isinstance(item, Update):
            self.transcript.sent.append(Sent(self._clock(), item))
            item = client_event(item)
        self._driver.receive(item)

    def next_tick_s(self) -> float:
        """Return when the session wants to be woken."""
        return self._driver.next_tick_s()

    def tick(self) -> None:
        """Wake the session if that is due."""
        if self._driver.next_tick_s() <= self._clock():
            self._driver.tick()

    # ---- the sink of the driver ----

    def send(self, event: ServerEvent, arrival_s: float | None) -> None:
        """Note what a client would get."""
        self.transcript.received.append(Received(self._clock(), event))

    def close(self, close: Close) -> None:
        """A replay has no line to close."""

    def job_started(self, job: Job) -> None:
        """Nothing is counted here: the engine counts."""

    def job_ended(self, job: Job, outcome: Outcome) -> None:
        """Nothing is counted here: the engine counts."""

    def job_failed(self, job: Job, problem: TranslationFailed) -> None:
        """Raise it: a replay that lacks a translation measures nothing."""
        raise problem
