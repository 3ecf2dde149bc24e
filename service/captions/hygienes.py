"""How a session's settings clean up texts on their way into each language.

Compiling a long glossary takes milliseconds, and most session updates change something else, so the
result is reused until a setting that it depends on changes; and it can be made ahead of time, in a
thread. Knows settings and languages; does not know segments.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from service.captions.settings import ModelInfo, Settings
from tokenspeed.text.glossary import FEW_TERMS, Glossary
from tokenspeed.text.pipeline import Hygiene


class _Made(NamedTuple):
    """Hygienes by target, that of a first pass if there may be one, and what they were made of."""

    words: object
    by_target: Mapping[str, Hygiene]
    pivot: Hygiene | None


class Hygienes:
    """A `Hygiene` for each target, and one for the first pass of a two-pass translation.

    Attributes:
        by_target: one for each requested language.
    """

    def __init__(self, model: ModelInfo) -> None:
        self._model = model
        self._settings = Settings()
        self._words: object = None  # the settings that they were compiled from
        self.by_target: dict[str, Hygiene] = {}
        self._others: dict[str, Hygiene] = {}
        self._pivot: Hygiene | None = None  # made on first use
        self._ahead: _Made | None = None  # for settings to come

    def takes_long(self, settings: Settings, targets: Sequence[str]) -> bool:
        """Whether `follow` would have much to compile that `prepare` could."""
        stored = (each.terms for each in settings.stored.values())
        own = sum(map(len, (settings.glossary, settings.do_not_translate, *stored)))
        if own + self._model.house.num_rows <= FEW_TERMS:
            return False
        if _words_of(settings) != self._words:
            return True
        return not self._is_for_all(settings) and any(t not in self.by_target for t in targets)

    def prepare(self, settings: Settings, targets: Sequence[str]) -> None:
        """Compile what `follow` will need for these settings; may run in a thread."""
        words, by_target = self._words, self.by_target
        known = by_target if words == _words_of(settings) else {}
        by_target = self._made(settings, targets, known)
        pivot = None
        if any(self._model.needs_pivot(settings.source, target) for target in targets):
            pivot = settings.pivot_hygiene(self._model)
        for hygiene in (*by_target.values(), *([] if pivot is None else [pivot])):
            hygiene.glossary.compile()
        self._ahead = _Made(_words_of(settings), by_target, pivot)

    def compiling(self) -> Callable[[], None] | None:
        """Return what compiles all that would take long, None if there is nothing."""
        found = {id(each.glossary): each.glossary for each in self.by_target.values()}
        long = [glossary for glossary in found.values() if glossary.takes_long]
        return partial(_compile, long) if long else None

    def follow(self, settings: Settings, targets: Sequence[str]) -> None:
        """Apply settings; afterwards there is one for each target and no others."""
        words = _words_of(settings)
        known: dict[str, Hygiene] = {}
        pivot = None
        for made in (self._ahead, _Made(self._words, self.by_target, self._pivot)):
            if made is not None and made.words == words:
                known |= made.by_target
                pivot = made.pivot or pivot
        self._settings, self._words, self._ahead = settings, words, None
        self._pivot = pivot if known else None
        self._others = {}
        self.by_target = self._made(settings, targets, known)

    def _is_for_all(self, settings: Settings) -> bool:
        """Whether the terms are the same in all languages."""
        has_own = settings.stored or any(each.language for each in settings.glossary)
        return not (has_own or self._model.house.num_rows)

    def _made(
        self, settings: Settings, targets: Sequence[str], known: Mapping[str, Hygiene]
    ) -> dict[str, Hygiene]:
        """Return a hygiene for each target, those that are known as they are."""
        is_for_all = self._is_for_all(settings)
        shared = next(iter(known.values())).glossary if known and is_for_all else None
        by_target: dict[str, Hygiene] = {}
        for target in targets:
            found = known.get(target) or settings.hygiene_of(target, self._model, shared)
            by_target[target] = found
            shared = found.glossary if is_for_all else None
        return by_target

    def of(self, target: str) -> Hygiene:
        """Return the hygiene of a language, even one no longer requested."""
        if target not in self.by_target and target not in self._others:
            self._others[target] = self._settings.hygiene_of(target, self._model)
        return self.by_target.get(target) or self._others[target]

    @property
    def cutting(self) -> Hygiene:
        """The hygiene that decides where a text is cut; all targets' decide alike."""
        return next(iter(self.by_target.values()), None) or Hygiene(self._model.vocabulary)

    @property
    def pivot(self) -> Hygiene:
        """The hygiene of the first pass."""
        if self._pivot is None:
            self._pivot = self._settings.pivot_hygiene(self._model)
        return self._pivot


def _compile(glossaries: Sequence[Glossary]) -> None:
    for glossary in glossaries:
        glossary.compile()


def _words_of(settings: Settings) -> object:
    """Return the settings that a hygiene depends on, to be compared."""
    return (
        settings.glossary,
        settings.do_not_translate,
        tuple((target, each.id) for target, each in settings.stored.items()),
        settings.source,
        settings.capitals,
        settings.profanity,
    )
