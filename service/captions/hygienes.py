"""How a session's settings clean up texts on their way into each language.

Compiling a long glossary takes milliseconds, and most session updates change something else, so the
result is reused until a setting that it depends on changes; and it can be made ahead of time, in a
thread. Knows settings and languages; does not know segments.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from service.captions.settings import ModelInfo, Settings
from tokenspeed.text.glossary import FEW_TERMS
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

    def takes_long(self, settings: Settings) -> bool:
        """Whether `follow` would have much to compile that `prepare` could."""
        stored = (each.terms for each in settings.stored.values())
        own = sum(map(len, (settings.glossary, settings.do_not_translate, *stored)))
        is_long = own + self._model.house.num_rows > FEW_TERMS
        return is_long and _words_of(settings) != self._words

    def prepare(self, settings: Settings, targets: Sequence[str]) -> None:
        """Compile what `follow` will need for these settings; may run in a thread."""
        by_target = self._made(settings, targets, {})
        pivot = None
        if any(self._model.needs_pivot(settings.source, target) for target in targets):
            pivot = settings.pivot_hygiene(self._model)
        for hygiene in (*by_target.values(), *([] if pivot is None else [pivot])):
            hygiene.glossary.compile()
        self._ahead = _Made(_words_of(settings), by_target, pivot)

    def follow(self, settings: Settings, targets: Sequence[str]) -> None:
        """Apply settings; afterwards there is one for each target and no others."""
        words = _words_of(settings)
        known = _Made(words, {}, None)
        for made in (self._ahead, _Made(self._words, self.by_target, self._pivot)):
            if made is not None and made.words == words:
                known = made
        self._settings, self._words, self._ahead = settings, words, None
        self._pivot = known.pivot if known.by_target else None
        self._others = {}
        self.by_target = self._made(settings, targets, known.by_target)

    def _made(
        self, settings: Settings, targets: Sequence[str], known: Mapping[str, Hygiene]
    ) -> dict[str, Hygiene]:
        """Return a hygiene for each target, those that are known as they are."""
        is_for_all = not settings.stored and all(e.language is None for e in settings.glossary)
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
