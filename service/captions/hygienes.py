"""How a session's settings clean up texts on their way into each language.

Compiling a long glossary takes milliseconds, and most session updates change something else, so the
result is reused until a setting that it depends on changes. Knows settings and languages; does not
know segments.
"""

from collections.abc import Sequence

from service.captions.settings import ModelInfo, Settings
from tokenspeed.text.pipeline import Hygiene


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

    def follow(self, settings: Settings, targets: Sequence[str]) -> None:
        """Apply settings; afterwards there is one for each target and no others."""
        words = (
            settings.glossary,
            settings.do_not_translate,
            tuple((target, each.id) for target, each in settings.stored.items()),
            settings.source,
            settings.capitals,
            settings.profanity,
        )
        known = self.by_target if words == self._words else {}
        self._settings, self._words = settings, words
        self._pivot = self._pivot if known else None
        self._others = {}
        is_for_all = not settings.stored and all(e.language is None for e in settings.glossary)
        shared = next(iter(known.values())).glossary if known and is_for_all else None
        self.by_target = {}
        for target in targets:
            found = known.get(target) or settings.hygiene_of(target, self._model, shared)
            self.by_target[target] = found
            shared = found.glossary if is_for_all else None

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
