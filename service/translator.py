"""From jobs to engine requests and back: prompts, deadlines, caps and text.

The one place where the service touches the engine. Knows ids and requests; does not know sessions,
policies' state or sockets.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Final, Protocol, TypeVar

from service.captions.job import FollowJob, Job, Outcome, Tokens
from service.captions.pacing import Reader
from service.captions.policy import Source
from service.captions.settings import PIVOT, ModelInfo
from service.captions.spoken import Spoken
from service.errors import TranslationFailed
from service.load.meter import in_thread
from service.wire.protocol import LanguageInfo, Timing
from tokenspeed.engine.core import Deliver
from tokenspeed.engine.engine import Cancellable, TokenStream
from tokenspeed.engine.request import Completion, Request
from tokenspeed.errors import EngineStopped, RequestTooLong
from tokenspeed.model.prompt import Formality, PromptFormat
from tokenspeed.text.detection import guess_of, language_of
from tokenspeed.text.detokenizer import Detokenizer, TextDecoder, TokenText
from tokenspeed.text.glossary import Glossary, Term
from tokenspeed.text.glossary_files import HouseGlossary
from tokenspeed.text.languages import name_of
from tokenspeed.text.pipeline import Capitals, Hygiene, Profanity
from tokenspeed.text.profanity import mask
from tokenspeed.text.vocabulary import vocabulary_of
from tokenspeed.text.whole import Exchange, Part, Whole

MAX_AHEAD: Final = 32  # pieces of a whole text that the engine has at one time
PARTS_READ: Final = 32  # of a text that are read in one go, in a thread
UNITS_GIVEN: Final = 100  # lines of a translation that are put together in one go
AT_ONCE_CHARS: Final = 150  # of a text that is worked on here; a longer one in a thread
SAMPLE: Final = "The quick brown fox: 0123456789 Straße, où, mañana; πάντα ῥεῖ, привет, 你好 (that)"
MIN_ROOM: Final = 8  # tokens that an output must have room for
Pairs = frozenset[tuple[str, str]]  # (source, target)
_T = TypeVar("_T")


def _ignore(*_: object) -> None:
    """Do nothing."""


async def others_first() -> None:
    """Let everybody else on the event loop have a turn."""
    await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class TextOptions:
    """How a whole text is translated.

    Attributes:
        client: who asks; the machine is shared equally between clients.
        terms: words with the translation that is wanted.
        formality: how "you" is rendered; None leaves it to the model.
        capitals, profanity: as of `Hygiene`.
        on_cut: called where the output of a piece reached its length cap without an end.
        turn: waited for before each piece, so that many texts do not hold up the event loop.
    """

    client: Hashable = None
    terms: tuple[Term, ...] = ()
    formality: Formality | None = None
    capitals: Capitals = "keep"
    profanity: Profanity = "raw"
    on_cut: Callable[[], None] = _ignore
    turn: Callable[[], Awaitable[None]] = others_first


DEFAULTS: Final = TextOptions()


@dataclass(slots=True)
class _Text:
    """A whole text being translated.

    Attributes:
        target: its language in the end.
        reader: who reads along.
        hygienes: what is done to its pieces, by the language that they were in at first, and the
            two of a pass.
        making: held by whoever adds to them.
    """

    target: str
    options: TextOptions
    reader: Reader = field(default_factory=Reader)
    hygienes: dict[tuple[str | None, str | None, str], Hygiene] = field(default_factory=dict)
    making: asyncio.Lock = field(default_factory=asyncio.Lock)


class Tokenizer(Protocol):
    """What the service needs from a tokenizer."""

    def encode(self, text: str) -> list[int]: ...
    def piece_id(self, piece: str) -> int | None: ...
    def decoder(self) -> TextDecoder: ...


class Engine(Protocol):
    """What the service needs from an engine: the threaded one, the manual one, a fake."""

    @property
    def clock(self) -> Callable[[], float]: ...
    def submit(self, request: Request, deliver: Deliver) -> Cancellable: ...


class Translator:
    """Asks an engine for translations.

    Args:
        engine, tokenizer, prompts: of one model.
        max_length: positions of one slot of the engine.
        budget_s: how soon after its arrival an update is due.
        house: terms that hold for every text.

    Attributes:
        vocabulary: of the model, as text sees it.
        on_faults: told of a whole text's target, outputs that were not used, and pieces left as
            they were.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        prompts: PromptFormat,
        max_length: int,
        budget_s: float,
        house: HouseGlossary | None = None,
    ) -> None:
        self.engine = engine
        self.prompts = prompts
        self.vocabulary = vocabulary_of(tokenizer)
        if not prompts.profile.has_placeholders:
            self.vocabulary = replace(self.vocabulary, placeholders=())
        self.on_faults: Callable[[str, int, int], None] = _ignore
        self._tokenizer = tokenizer
        self._sources = frozenset(source for source, _ in prompts.pairs)
        self._max_length = max_length
        self._budget_s = budget_s
        self._house = house or HouseGlossary()

    def new_detokenizer(self) -> TokenText:
        """Return a detokenizer for one growing output."""
        return self.prompts.answer.token_text(Detokenizer(self._tokenizer.decoder))

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has."""
        return len(self._tokenizer.encode(text))

    def model_info(self, name: str, default_context: int = 0) -> ModelInfo:
        """Return what sessions need to know of the model."""
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
            self.vocabulary,
            self._language_of,
            self.prompts.formalities,
            self._house,
            fingerprint=self._fingerprint(name),
            guess_of=self._guess_of,
        )

    def _fingerprint(self, name: str) -> str:
        """Return what tells this model from others of its name: the ids of some text."""
        told = f"{name} {self._tokenizer.encode(SAMPLE)}"
        return hashlib.blake2b(told.encode(), digest_size=12).hexdigest()

    def request(self, job: Job) -> tuple[Request, int]:
        """Return the engine request for a job, and how many of its forced ids are context.

        Raises:
            TranslationFailed: the text does not fit a slot of the engine.
        """
        context = job.context
        is_told = self.prompts.tells_context and not job.continues
        while True:
            sentences = tuple(text for text, _ in context)
            told, along = (sentences, ()) if is_told else ((), sentences)
            before = () if is_told else tuple(token for _, ids in context for token in ids)
            forced = (*before, *job.forced)
            source = " ".join([*along, job.text.strip()])
            prompt = self.prompts.build(
                source,
                job.source_language,
                job.target,
                is_open=job.is_open,
                formality=job.formality,
                terms=job.terms,
                context=told,
            )
            room = self._max_length - len(prompt)
            if room >= len(forced) + MIN_ROOM:
                break
            if not context:
                raise TranslationFailed("text_too_long", "it does not fit the model")
            context = context[1:]
        cap = self.prompts.length_cap(
            len(prompt), job.source_language, job.target, terms=job.terms, context=told
        )
        cap = max(cap, len(forced) + MIN_ROOM)
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
        """Give a job to the engine; `follow` hears of its output and its end.

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
                if not outcome.is_whole and self._is_ended(outcome.tokens):
                    outcome = replace(outcome, is_whole=True)
                follow(outcome.tokens, outcome)

        return self._submit(request, deliver)

    async def whole(
        self, text: str, source: str | None, target: str, options: TextOptions = DEFAULTS
    ) -> str:
        """Translate a complete text; its pieces run side by side.

        Raises:
            TranslationFailed: a piece does not fit, or the engine has stopped.
            ValueError: the model does not translate this pair.
        """
        parts = self.stream(text, source, target, options)
        return "".join([part async for part in parts])

    async def stream(
        self, text: str, source: str | None, target: str, options: TextOptions = DEFAULTS
    ) -> AsyncGenerator[str]:
        """Translate a complete text; yield its translation piece by piece, in order.

        A sentence that is in the wanted language already comes back as it is, whatever `source`
        says; one of a pair that the model lacks goes through English.

        Raises:
            TranslationFailed: a piece does not fit, or the engine has stopped.
            ValueError: the model does not translate this pair.
        """
        # A long text waits as text: neither this event loop nor the engine gets it all at once.
        glossary = self._house.with_terms(options.terms, source, target, self.vocabulary.is_rare)
        await _compiled(glossary)
        whole = Whole(text, Hygiene(self.vocabulary, glossary, source, target))
        unread = whole.parts()
        read: deque[Part] = deque()
        is_read = False
        ahead: deque[tuple[Part, asyncio.Task[str]]] = deque()
        sources: list[Source] = []
        spoken = Spoken()
        going = _Text(target, options)
        try:
            while True:
                while len(ahead) < MAX_AHEAD:
                    await options.turn()
                    if not read and not is_read:
                        following: Callable[[], list[Part]]
                        following = partial(list, islice(unread, PARTS_READ))
                        read.extend(await _worked(following, len(text)))
                        is_read = not read
                    part = read.popleft() if read else None
                    if part is None:
                        break
                    if part.text is not None:  # nothing to translate
                        if ahead:
                            continue
                        break
                    at = range(len(sources), len(sources) + 1)
                    sources.append(Source(part.source, 0))
                    (marked,) = spoken.mark(sources, at, self._language_of, source, None)
                    is_foreign = marked.language not in (None, *self._sources)
                    if marked.language == target or is_foreign:
                        # In the target language already, or in an unknown one.
                        is_masked = options.profanity == "mask"
                        part.text = mask(part.source, target) if is_masked else part.source
                    else:
                        is_known = self._is_known(marked.language, target)
                        language = marked.language if is_known else source
                        if language is None:
                            language = self._route_of(part.source, target)
                        said = self._say(part.source, language, target, going)
                        ahead.append((part, asyncio.create_task(said)))
                    if part.text is not None and not ahead:
                        break
                while ready := whole.take_ready(UNITS_GIVEN):
                    yield ready
                    await options.turn()
                if ahead:
                    part, task = ahead[0]
                    part.text = await task
                    ahead.popleft()
                elif part is None:
                    return
        except EngineStopped as exc:
            raise TranslationFailed("internal", str(exc)) from exc
        finally:
            for _, task in ahead:
                task.cancel()

    async def _say(self, text: str, source: str | None, target: str, going: _Text) -> str:
        """Translate one piece; one of a pair that takes two passes goes through English."""
        # Due at reading speed, so that a long text does not hold up live captions.
        deadline_s = going.reader.reaches_s(self.engine.clock(), len(text)) + self._budget_s
        origin = source
        if source is not None and target in _pivots(self.prompts.pairs, source):
            text = await self._exchange(text, source, PIVOT, origin, deadline_s, going)
            source = PIVOT
        return await self._exchange(text, source, target, origin, deadline_s, going)

    async def _hygiene(
        self, origin: str | None, source: str | None, target: str, going: _Text
    ) -> Hygiene:
        """Return what is done to pieces in one pass, the same for all of them."""
        key = (origin, source, target)
        async with going.making:  # once, though several pieces are under way
            if key in going.hygienes:
                return going.hygienes[key]
            is_rare = self.vocabulary.is_rare
            is_last = target == going.target
            glossary = (
                self._house.with_terms(going.options.terms, origin, going.target, is_rare)
                if is_last
                else self._house.keeping(going.options.terms, origin, [going.target], is_rare)
            )
            await _compiled(glossary)
            going.hygienes[key] = Hygiene(
                self.vocabulary,
                glossary,
                source,
                target,
                going.options.capitals,
                going.options.profanity if is_last else "raw",
            )
            return going.hygienes[key]

    async def _exchange(
        self,
        text: str,
        source: str | None,
        target: str,
        origin: str | None,
        deadline_s: float,
        going: _Text,
    ) -> str:
        """Retry until there is a usable translation.

        Args:
            origin: the language that the text was in before a first pass. A first pass leaves the
                glossary's terms untranslated, for the second.
        """
        hygiene = await self._hygiene(origin, source, target, going)
        begun = partial(Exchange, hygiene, text, source)
        exchange = await _worked(begun, len(text))
        formality = going.options.formality if target == going.target else None
        while exchange.shown is not None:
            prompt = self.prompts.build(
                exchange.shown,
                source,
                target,
                is_open=False,
                formality=formality,
                terms=exchange.terms,
            )
            cap = self.prompts.length_cap(len(prompt), source, target, terms=exchange.terms)
            cap = min(cap, self._max_length - len(prompt))
            if cap < MIN_ROOM:
                raise TranslationFailed("text_too_long", "a sentence does not fit the model")
            request = Request(
                prompt, max_new_tokens=cap, deadline_s=deadline_s, client=going.options.client
            )
            stream = TokenStream(self._submit, request)
            try:
                completion = await stream.completion()
            finally:
                stream.cancel()  # no effect on one that is done
            # Many pieces may end with one step of the engine.
            await going.options.turn()
            is_whole = completion.finish_reason == "stop" or self._is_ended(completion.tokens)
            output = self._text_of(completion.tokens)
            await _worked(partial(exchange.take, output, is_whole=is_whole), len(text))
        if exchange.is_untranslated and not is_whole:
            going.options.on_cut()
        self.on_faults(target, exchange.faults, int(exchange.is_untranslated))
        return exchange.text

    def _text_of(self, tokens: Sequence[int]) -> str:
        return self.new_detokenizer()(tokens)[0]

    def _is_ended(self, tokens: Sequence[int]) -> bool:
        """Whether an unfinished output already contains the whole translation."""
        output = Detokenizer(self._tokenizer.decoder)(tokens)[0]
        return self.prompts.answer.is_ended(output)

    def _is_known(self, source: str | None, target: str) -> bool:
        pairs = self.prompts.pairs
        return (source, target) in pairs or (
            source is not None and target in _pivots(pairs, source)
        )

    def _language_of(self, text: str, expected: str | None) -> str | None:
        return language_of(text, self._sources, expected)

    def _guess_of(self, text: str) -> str | None:
        return guess_of(text, self._sources)

    def _route_of(self, text: str, target: str) -> str | None:
        """Return the language of an unclear text if it then takes two passes; see `ModelInfo`."""
        guess = self._guess_of(text)
        is_pivoted = guess is not None and target in _pivots(self.prompts.pairs, guess)
        return guess if is_pivoted and guess != target else None

    def _submit(self, request: Request, deliver: Deliver) -> Cancellable:
        try:
            return self.engine.submit(request, deliver)
        except RequestTooLong as exc:
            raise TranslationFailed("text_too_long", str(exc)) from exc
        except EngineStopped as exc:
            raise TranslationFailed("internal", str(exc)) from exc


async def _compiled(glossary: Glossary) -> None:
    """Have a glossary compiled before a text needs it on the event loop."""
    if glossary.takes_long:
        await in_thread(glossary.compile)


async def _worked(act: Callable[[], _T], num_chars: int) -> _T:
    """Return the result of work on a text; in a thread if it might hold up the event loop."""
    return act() if num_chars <= AT_ONCE_CHARS else await in_thread(act)


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


def _targets(pairs: Pairs, source: str) -> tuple[str, ...]:
    """Return the languages that one can be translated into, in one pass or two."""
    direct = {target for known, target in pairs if known == source}
    return tuple(sorted(direct | set(_pivots(pairs, source))))


def _pivots(pairs: Pairs, source: str) -> tuple[str, ...]:
    """Return the languages that one can be translated into only through English."""
    if (source, PIVOT) not in pairs:
        return ()
    others = {target for known, target in pairs if known == PIVOT and target != source}
    return tuple(sorted(target for target in others if (source, target) not in pairs))
