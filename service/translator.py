"""From jobs to engine requests and back: prompts, deadlines, caps and text.

The one place where the service touches the engine. Knows ids and requests; does not know sessions,
policies' state or sockets.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from service.captions.job import FollowJob, Job, Outcome, Tokens
from service.captions.pacing import Reader
from service.captions.policy import Source
from service.captions.settings import PIVOT, ModelInfo
from service.captions.spoken import Spoken
from service.errors import TranslationFailed
from service.wire.protocol import LanguageInfo, Timing
from tokenspeed.engine.core import Deliver
from tokenspeed.engine.engine import Cancellable, TokenStream
from tokenspeed.engine.request import Completion, Request
from tokenspeed.engine.translate import length_cap
from tokenspeed.errors import EngineStopped, RequestTooLong
from tokenspeed.model.prompt import Formality, PromptFormat
from tokenspeed.text.detection import language_of
from tokenspeed.text.detokenizer import Detokenizer, TextDecoder
from tokenspeed.text.glossary import Glossary, Placeholders, Term
from tokenspeed.text.languages import name_of
from tokenspeed.text.quantities.computing import repair
from tokenspeed.text.quantities.reading import read
from tokenspeed.text.segmenter import pieces

MAX_AHEAD: Final = 32  # pieces of a whole text that the engine has at one time
MIN_ROOM: Final = 8  # tokens that an output must be able to grow by
Pairs = frozenset[tuple[str, str]]  # (source, target)

RARE_PIECES: Final = 4  # a name of so many pieces is one that the model cannot spell


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is wanted of a whole text; `kept` leaves the words of `glossary` as they are."""

    glossary: Glossary
    kept: Glossary
    formality: Formality | None
    reader: Reader
    client: Hashable


@dataclass(frozen=True)
class _Said:
    """An output on its way, what is to be put back in it, and what was asked."""

    placeholders: Placeholders
    stream: TokenStream
    text: str
    source: str | None


async def others_first() -> None:
    """Let everybody else on the event loop have a turn."""
    await asyncio.sleep(0)


class Tokenizer(Protocol):
    """What the service needs of a tokenizer."""

    def encode(self, text: str) -> list[int]: ...
    def decoder(self) -> TextDecoder: ...


class Engine(Protocol):
    """What the service needs of an engine: the one with a thread, the manual one, a fake."""

    @property
    def clock(self) -> Callable[[], float]: ...
    def submit(self, request: Request, deliver: Deliver) -> Cancellable: ...


def _ignore() -> None:
    """Do nothing."""


class Translator:
    """Asks an engine for translations.

    Args:
        engine, tokenizer, prompts: of one model.
        max_length: positions of one slot of the engine.
        budget_s: how soon after its arrival an update is due.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        prompts: PromptFormat,
        max_length: int,
        budget_s: float,
    ) -> None:
        self.engine = engine
        self.prompts = prompts
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._budget_s = budget_s

    def new_detokenizer(self) -> Detokenizer:
        """Return what turns the ids of one growing output into text."""
        return Detokenizer(self._tokenizer.decoder)

    def is_rare(self, word: str) -> bool:
        """Whether the vocabulary has no good spelling of a word."""
        return len(self._tokenizer.encode(word)) >= RARE_PIECES

    def count_tokens(self, text: str) -> int:
        """Return how many tokens the vocabulary makes of a text."""
        return len(self._tokenizer.encode(text))

    def model_info(self, name: str, default_context: int = 0) -> ModelInfo:
        """Return what sessions must know of the model."""
        pairs = self.prompts.pairs
        languages = tuple(
            LanguageInfo(source, name_of(source), _targets(pairs, source), _pivots(pairs, source))
            for source in sorted({source for source, _ in pairs})
        )
        most = self.prompts.context_pairs
        return ModelInfo(
            name,
            languages,
            min(default_context, most),
            most,
            self.is_rare,
            self._language_of,
            self.prompts.formalities,
        )

    def request(self, job: Job) -> tuple[Request, int]:
        """Return what to ask the engine, and how many forced ids are context.

        Raises:
            TranslationFailed: the text does not fit a slot of the engine.
        """
        context = job.context
        while True:
            forced = (*(token for _, ids in context for token in ids), *job.forced)
            source = " ".join([*(text for text, _ in context), job.text.strip()])
            prompt = self.prompts.build(
                source,
                job.source_language,
                job.target,
                is_open=job.is_open,
                formality=job.formality,
            )
            room = self._max_length - len(prompt)
            if room >= len(forced) + MIN_ROOM:
                break
            if not context:
                raise TranslationFailed("text_too_long", "it does not fit the model")
            context = context[1:]
        cap = max(length_cap(len(prompt)), len(forced) + MIN_ROOM)
        skip = len(forced) - len(job.forced)
        request = Request(
            prompt=prompt,
            forced=forced,
            draft=job.draft,
            bias=job.bias,
            max_new_tokens=min(cap, room),
            deadline_s=max(job.arrival_s, job.reached_s) + self._budget_s,
            is_final=job.is_final,
            key=job.key,
            client=job.key.session_id,
        )
        return request, skip

    def start(self, job: Job, follow: FollowJob) -> Cancellable:
        """Hand a job to the engine; `follow` hears of its output and its end.

        With the engine that has a thread, call it from a running event loop.

        Raises:
            TranslationFailed: the text does not fit, or the engine has stopped.
        """
        request, skip = self.request(job)
        tokens = job.forced

        def deliver(new: Tokens, ending: Completion | EngineStopped | None) -> None:
            nonlocal tokens
            tokens += new
            if ending is None:
                follow(tokens, None)
            elif isinstance(ending, EngineStopped):
                follow(tokens, TranslationFailed("internal", str(ending)))
            else:
                outcome = _outcome(ending, skip)
                follow(outcome.tokens, outcome)

        return self._submit(request, deliver)

    async def whole(
        self,
        text: str,
        source: str | None,
        target: str,
        client: Hashable = None,
        on_cut: Callable[[], None] = _ignore,
        terms: Sequence[Term] = (),
        formality: Formality | None = None,
        turn: Callable[[], Awaitable[None]] = others_first,
    ) -> str:
        """Translate a complete text, piece by piece, side by side; arguments as of `stream`.

        Raises:
            TranslationFailed: a piece does not fit, or the engine has stopped.
            ValueError: the model does not translate this pair.
        """
        parts = self.stream(text, source, target, client, on_cut, terms, formality, turn)
        return "".join([part async for part in parts])

    async def stream(
        self,
        text: str,
        source: str | None,
        target: str,
        client: Hashable = None,
        on_cut: Callable[[], None] = _ignore,
        terms: Sequence[Term] = (),
        formality: Formality | None = None,
        turn: Callable[[], Awaitable[None]] = others_first,
    ) -> AsyncGenerator[str]:
        """Translate a complete text; yield its translation as it is decoded, in order.

        A sentence that is in the wanted language already comes back as it is, whatever `source`
        says; one of a pair that the model lacks goes through English.

        Args:
            client: who asks; the machine is shared equally between clients.
            on_cut: called where the output of a piece reached its length cap without an end.
            terms: words with the translation that is wanted.
            formality: how "you" is rendered; None leaves it to the model.
            turn: waited for before each piece, so that many texts do not hold up the event loop.

        Raises:
            TranslationFailed: a piece does not fit, or the engine has stopped.
            ValueError: the model does not translate this pair.
        """
        # A long text waits as text: neither this event loop nor the engine gets all of it at once.
        unread = pieces(text)
        ahead: deque[tuple[str, str | asyncio.Task[_Said]]] = deque()
        sources: list[Source] = []
        spoken = Spoken()
        wish = _Wish(
            Glossary(terms, self.is_rare, source),
            Glossary([Term(t.source, t.source) for t in terms], self.is_rare, source),
            formality,
            Reader(),
            client,
        )
        try:
            while True:
                while len(ahead) < MAX_AHEAD:
                    await turn()
                    piece = next(unread, None)
                    if piece is None:
                        break
                    stripped = piece.strip()
                    if not stripped:
                        continue
                    space = piece[: len(piece) - len(piece.lstrip())] if sources else ""
                    at = range(len(sources), len(sources) + 1)
                    sources.append(Source(stripped, 0))
                    (marked,) = spoken.mark(sources, at, self._language_of, source, None)
                    if marked.language == target:
                        ahead.append((space, stripped))  # it is in the wanted language already
                    else:
                        is_known = self._is_known(marked.language, target)
                        language = marked.language if is_known else source
                        said = self._say(stripped, language, target, wish)
                        ahead.append((space, asyncio.create_task(said)))
                if not ahead:
                    return
                space, part = ahead[0]
                if space:
                    yield space
                if isinstance(part, str):
                    ahead.popleft()
                    yield part
                    continue
                found = await part
                decoder = found.placeholders.decoder(self._tokenizer.decoder())
                # Numbers are put right by looking at the whole of a piece, so it comes as a whole.
                is_held = found.source is not None and bool(read(found.text, found.source))
                held: list[str] = []
                async for tokens in found.stream:
                    new = decoder.push(tokens)
                    if is_held:
                        held.append(new)
                    elif new:
                        yield new
                rest = "".join([*held, decoder.end()])
                if rest:
                    yield _repaired(found, rest, target)
                if (await found.stream.completion()).finish_reason == "length":
                    on_cut()
                ahead.popleft()
        except EngineStopped as exc:
            raise TranslationFailed("internal", str(exc)) from exc
        finally:
            for _, part in ahead:
                if isinstance(part, str):
                    continue
                if part.done() and not part.cancelled() and part.exception() is None:
                    part.result().stream.cancel()  # does nothing to those that are done
                part.cancel()

    async def _say(self, text: str, source: str | None, target: str, wish: _Wish) -> _Said:
        """Ask for one piece; of a pair that takes two passes wait for the first."""
        # Due as they are read, so that a long text does not hold up live captions.
        deadline_s = wish.reader.reaches_s(self.engine.clock(), len(text)) + self._budget_s
        if source is not None and target in _pivots(self.prompts.pairs, source):
            said = self._ask(text, source, PIVOT, wish.kept, deadline_s, wish)
            try:
                decoder = said.placeholders.decoder(self._tokenizer.decoder())
                tokens = (await said.stream.completion()).tokens
                found = (decoder.push(tokens) + decoder.end()).strip()
                text, source = _repaired(said, found, PIVOT), PIVOT
            finally:
                said.stream.cancel()
        return self._ask(text, source, target, wish.glossary, deadline_s, wish, wish.formality)

    def _ask(
        self,
        text: str,
        source: str | None,
        target: str,
        glossary: Glossary,
        deadline_s: float,
        wish: _Wish,
        formality: Formality | None = None,
    ) -> _Said:
        placeholders = Placeholders(glossary)
        shown = placeholders.replace(text, language=source, is_repaired=True)
        prompt = self.prompts.build(shown, source, target, is_open=False, formality=formality)
        cap = min(length_cap(len(prompt)), self._max_length - len(prompt))
        if cap < MIN_ROOM:
            raise TranslationFailed("text_too_long", "a sentence does not fit the model")
        request = Request(prompt, max_new_tokens=cap, deadline_s=deadline_s, client=wish.client)
        return _Said(placeholders, TokenStream(self._submit, request), text, source)

    def _is_known(self, source: str | None, target: str) -> bool:
        pairs = self.prompts.pairs
        return (source, target) in pairs or (
            source is not None and target in _pivots(pairs, source)
        )

    def _language_of(self, text: str, expected: str | None) -> str | None:
        return language_of(text, {source for source, _ in self.prompts.pairs}, expected)

    def _submit(self, request: Request, deliver: Deliver) -> Cancellable:
        try:
            return self.engine.submit(request, deliver)
        except RequestTooLong as exc:
            raise TranslationFailed("text_too_long", str(exc)) from exc
        except EngineStopped as exc:
            raise TranslationFailed("internal", str(exc)) from exc


def _outcome(completion: Completion, skip: int) -> Outcome:
    """Return how a job ended; the first `skip` tokens are context, not output."""
    return Outcome(
        tokens=completion.tokens[skip:],
        is_whole=completion.finish_reason == "stop",
        is_current=completion.finish_reason in ("stop", "length"),
        timing=Timing(
            queue_ms=round(completion.queue_ms, 3),
            compute_ms=round(completion.compute_ms, 3),
            first_token_ms=round(completion.first_token_ms, 3),
            total_ms=round(completion.total_ms, 3),
            accepted=completion.accepted,
            decoded=completion.decoded,
        ),
    )


def _repaired(said: _Said, output: str, target: str) -> str:
    """Return an output with its numbers as the source has them."""
    return output if said.source is None else repair(said.text, output, said.source, target)


def _targets(pairs: Pairs, source: str) -> tuple[str, ...]:
    """Return what a language can be translated into, in one pass or two."""
    direct = {target for known, target in pairs if known == source}
    return tuple(sorted(direct | set(_pivots(pairs, source))))


def _pivots(pairs: Pairs, source: str) -> tuple[str, ...]:
    """Return what a language can be translated into through English alone."""
    if (source, PIVOT) not in pairs:
        return ()
    others = {target for known, target in pairs if known == PIVOT and target != source}
    return tuple(sorted(target for target in others if (source, target) not in pairs))
