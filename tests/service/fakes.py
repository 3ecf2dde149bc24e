"""A translator without a model: characters for tokens, capitals for translation.

Fast and predictable: what it says of a source is that source in capitals, and it keeps the rules of
the real engine (forced beginnings, drafts, supersession).
"""

import asyncio
import re
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from tokenspeed.engine.core import Deliver, EngineStats, OnStep
from tokenspeed.engine.engine import EngineHealth
from tokenspeed.engine.request import Completion, Request
from tokenspeed.errors import EngineStopped, RequestTooLong
from tokenspeed.model.profile import Profile
from tokenspeed.model.prompt import FORMALITIES, Formality, length_cap
from tokenspeed.text.answer import Answer
from tokenspeed.text.detokenizer import TokenText

LANGUAGES = ("de", "en", "es", "fr")
_MARKS = 0x110000  # ids from here on are marks, below they are characters


def token_text(tokens: Sequence[int]) -> tuple[str, list[int]]:
    """One character for each id."""
    return "".join(map(chr, tokens)), list(range(len(tokens) + 1))


def new_detokenizer() -> TokenText:
    """The same for every output."""
    return token_text


def ids(text: str) -> tuple[int, ...]:
    return tuple(map(ord, text))


class FakeTokenizer:
    """Ids are code points."""

    vocab_size = _MARKS + 16
    bos_id = _MARKS
    eos_ids = (_MARKS + 1,)

    def encode(self, text: str) -> list[int]:
        return list(ids(text))

    def piece_id(self, piece: str) -> int | None:
        return None

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(chr(token) for token in tokens if token < _MARKS)

    def decoder(self) -> "FakeDecoder":
        return FakeDecoder()


class FakeDecoder:
    def push(self, tokens: Sequence[int]) -> str:
        return "".join(map(chr, tokens))


class FakePrompts:
    """bos, source, form of address, target mark."""

    profile = Profile("fake", "Fake")
    languages: tuple[str, ...] = LANGUAGES
    context_pairs = 2
    tells_context = False
    pairs = frozenset(
        [("en", other) for other in ("de", "es", "fr")]
        + [(other, "en") for other in ("de", "es", "fr")]
    )
    formalities = frozenset(("de", "fr"))
    stop_ids: tuple[int, ...] = ()
    answer = Answer()

    def length_cap(
        self,
        prompt_tokens: int,
        source_language: str | None,
        target_language: str,
        *,
        terms: Sequence[tuple[str, str]] = (),
        context: Sequence[str] = (),
    ) -> int:
        return length_cap(prompt_tokens)

    def build(
        self,
        source: str,
        source_language: str | None,
        target_language: str,
        *,
        is_open: bool,
        formality: Formality | None = None,
        terms: Sequence[tuple[str, str]] = (),
        context: Sequence[str] = (),
    ) -> tuple[int, ...]:
        if target_language not in LANGUAGES:
            raise ValueError(f"{target_language} is not supported")
        if formality and target_language not in self.formalities:
            raise ValueError(f"no {formality} address in {target_language}")
        asked = (_MARKS + 8 + FORMALITIES.index(formality),) if formality else ()
        return (_MARKS, *ids(source), *asked, _MARKS + 2 + LANGUAGES.index(target_language))


BABBLE = "babble"  # what begins like that has no translation


def translation_of(source: str) -> str:
    """What the fake engine says of a whole source when nothing is forced; tags it copies."""
    if source.startswith(BABBLE):
        return "bla " * 50
    return re.sub(
        r"(<[^<>]*>|\{[^{}]*\})|[^<{]+|[<{]", lambda found: found[1] or found[0].upper(), source
    )


@dataclass
class FakeBackend:
    name: str = "fake"
    max_length: int = 4096


@dataclass
class FakeEngine:
    """Answers after `delay_s`; a newer request of a key supersedes the older one."""

    delay_s: float = 0.0
    is_broken: bool = False
    is_alive: bool = True
    step_s: float = 0.0  # of the step under way, as it says
    backend: FakeBackend = field(default_factory=FakeBackend)
    clock = staticmethod(time.monotonic)
    requests: list[Request] = field(default_factory=list)
    running: dict[Hashable, "FakeGeneration"] = field(default_factory=dict)
    row_s: float = 0.0  # that it says a row takes
    never_ends: bool = False  # every output is cut at its length cap
    says: dict[str, str] = field(default_factory=dict)  # whatever is asked, by form of address
    at_once: int = 5  # tokens that are delivered together

    def submit(self, request: Request, deliver: Deliver) -> "FakeGeneration":
        needed = len(request.prompt) + request.max_new_tokens
        if needed > self.backend.max_length:
            raise RequestTooLong(needed, self.backend.max_length)
        self.requests.append(request)
        older = None if request.key is None else self.running.get(request.key)
        if older is not None and not older.request.is_final:
            older.end("superseded")
        generation = FakeGeneration(self, request, deliver)
        self.running[generation.place] = generation
        return generation

    def stats(self) -> EngineStats:
        return EngineStats(
            num_slots=1,
            running=len(self.running),
            requests=len(self.requests),
            rows=100 * len(self.requests),
            row_s=self.row_s,
            step_s=self.row_s,
        )

    def health(self) -> EngineHealth:
        return EngineHealth(self.is_alive, self.step_s, failures_in_a_row=0)

    def watch_steps(self, on_step: OnStep) -> None:
        """There are none."""

    def close(self) -> None:
        self.is_broken = True


class FakeGeneration:
    def __init__(self, engine: FakeEngine, request: Request, deliver: Deliver) -> None:
        self.engine = engine
        self.request = request
        self.place: Hashable = self if request.key is None else request.key
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._is_over = False
        if engine.delay_s:
            self._loop.call_later(engine.delay_s, self.end, "stop")
        else:
            self._loop.call_soon(self.end, "stop")

    def end(self, reason: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self.engine.running.get(self.place) is self:
            del self.engine.running[self.place]
        self._loop.call_soon(self._tell, reason)

    def cancel(self) -> None:
        self.end("cancelled")

    def _tell(self, reason: str) -> None:
        if self.engine.is_broken:
            self._deliver((), EngineStopped("the engine was closed"))
            return
        rest = self._output()[len(self.request.forced) :]
        at_once = self.engine.at_once
        for start in range(0, len(rest), at_once):
            self._deliver(rest[start : start + at_once], None)
        ending = "length" if self.engine.never_ends and reason == "stop" else reason
        self._deliver((), Completion(self._output(), ending, decoded=1))

    def _output(self) -> tuple[int, ...]:
        forced = self.request.forced
        asked = {mark - _MARKS - 8 for mark in self.request.prompt[1:-1] if mark > _MARKS}
        told = [
            text
            for formality, text in self.engine.says.items()
            if FORMALITIES.index(formality) in asked
        ]
        if told:
            return ids(told[0])
        said = ids(translation_of("".join(chr(t) for t in self.request.prompt if t < _MARKS)))
        return (forced + said[len(forced) :])[: max(self.request.max_new_tokens, len(forced))]
