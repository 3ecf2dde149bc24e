"""What is wanted of a session's text: its client's settings, and the languages its readers want.

Makes translations as the settings have them, and brings those under way up to date. Does not know
segments, or what a change of settings means to what was translated before it.
"""

from collections.abc import Callable, Mapping
from functools import partial

from service.captions.hygienes import Hygienes
from service.captions.policy import Preset
from service.captions.settings import PIVOT, ModelInfo, Settings
from service.captions.stream import TargetStream
from tokenspeed.text.detokenizer import TokenText
from tokenspeed.text.pipeline import Hygiene


class Wanted:
    """The settings of a session, and what follows from them.

    Args:
        session_id: names the session in job keys.
        model: what can be asked for.
        new_detokenizer: makes a detokenizer for the ids of one output.
        presets: how eager translations are, by the name of a stability and "append_only".

    Attributes:
        settings: what the client asks for, as applied.
        audience: languages that readers of the room want.
    """

    def __init__(
        self,
        session_id: str,
        model: ModelInfo,
        new_detokenizer: Callable[[], TokenText],
        presets: Mapping[str, Preset],
    ) -> None:
        self.settings = Settings(context=model.default_context)
        self.audience: frozenset[str] = frozenset()
        self._session_id = session_id
        self._model = model
        self._new_detokenizer = new_detokenizer
        self._presets = presets
        self._hygienes = Hygienes(model)

    @property
    def targets(self) -> tuple[str, ...]:
        """Languages that the client wants, then those of its readers that the model can produce."""
        return self._targets(self.settings, self.audience)

    @property
    def cutting(self) -> Hygiene:
        """The hygiene that decides where a text is cut."""
        return self._hygienes.cutting

    def is_told(self, target: str) -> bool:
        """Whether the client itself is told of a language, and not its readers alone."""
        return target in self.settings.targets or target not in self.audience

    def preparation(
        self, settings: Settings, audience: frozenset[str] | None = None
    ) -> Callable[[], None] | None:
        """Return what makes `follow` fast if it would take long; it may run in a thread.

        Args:
            audience: languages that readers want then; None: those of now.
        """
        targets = self._targets(settings, self.audience if audience is None else audience)
        if not self._hygienes.takes_long(settings, targets):
            return None
        return partial(self._hygienes.prepare, settings, targets)

    def compiling(self) -> Callable[[], None] | None:
        """Return what compiles all that would take long, None if there is nothing."""
        return self._hygienes.compiling()

    def follow(self, settings: Settings, audience: frozenset[str]) -> None:
        """Take new settings, or another audience."""
        self.settings, self.audience = settings, audience
        self._hygienes.follow(settings, self.targets)

    def stream(self, segment_id: str, target: str, *, is_pivot: bool = False) -> TargetStream:
        """Return a new translation of a segment, or the first pass of those that take two."""
        return TargetStream(
            self._session_id,
            segment_id,
            self.settings.source,
            target,
            self.settings.preset(self._presets),
            self._new_detokenizer,
            self._hygiene_of(target, is_pivot=is_pivot),
            is_pivot=is_pivot,
        )

    def pivot(self, segment_id: str) -> TargetStream:
        """Return a new first pass of a segment."""
        return self.stream(segment_id, PIVOT, is_pivot=True)

    def renew(self, stream: TargetStream) -> None:
        """Apply the settings to a translation under way."""
        preset = self.settings.preset(self._presets)
        if stream.preset is not preset:
            stream.preset = preset
        hygiene = self._hygiene_of(stream.target, is_pivot=stream.is_pivot)
        if stream.hygiene is not hygiene:
            stream.hygiene = hygiene

    def address(self, stream: TargetStream) -> None:
        """Apply the settings to a translation, with how it addresses readers."""
        stream.formality = self.settings.formality.get(stream.target)
        self.renew(stream)

    def _targets(self, settings: Settings, audience: frozenset[str]) -> tuple[str, ...]:
        read = sorted(t for t in audience if self._model.translates(settings.source, t))
        return tuple(dict.fromkeys((*settings.targets, *read)))

    def _hygiene_of(self, target: str, *, is_pivot: bool) -> Hygiene:
        return self._hygienes.pivot if is_pivot else self._hygienes.of(target)
