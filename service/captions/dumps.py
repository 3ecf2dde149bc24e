"""A session written down in parts, for another replica to go on with, and read back.

A part of a name replaces an earlier one, and only what changed since the last time is written. What
is in a part is known to whom it is of: settings, segments, their translations.
"""

from collections.abc import Mapping
from typing import Any, Final

from service.captions.segments import Segments
from service.captions.settings import ModelInfo, Settings
from service.captions.translations import Translations

VERSION: Final = 2  # of what replicas hand each other


class Dumps:
    """Writes a session down, and restores it.

    Args:
        model: what can be asked for.
        segments, translations: of the session.
        started_s: when the session began: what the times in the parts count from.
    """

    def __init__(
        self, model: ModelInfo, segments: Segments, translations: Translations, started_s: float
    ) -> None:
        self._model = model
        self._segments = segments
        self._translations = translations
        self._started_s = started_s
        self._written: Settings | None = None

    def write(self, own: dict[str, Any], *, is_whole: bool) -> dict[str, Any]:
        """Return what changed since the last call, or all of it.

        Args:
            own: of the session itself, plain values.
        Returns:
            Parts by name; None for a part that no longer exists.
        """
        segments, settings = self._segments, self._translations.settings
        changed, closed = segments.changed, segments.closed_anew
        if is_whole or changed is None or closed is None:
            changed = {segment.segment_id for segment in segments}
            closed = set(segments.closed_names)
            self._written = None
        segments.changed, segments.closed_anew = set(), set()
        parts: dict[str, Any] = {
            "head": {
                "version": VERSION,
                "model": self._model.fingerprint,
                "started_s": self._started_s,
                **own,
                "segments": segments.dump(),
                "translations": self._translations.dump(self._started_s),
            }
        }
        if self._written is not settings:
            self._written = settings
            parts["settings"] = settings.dump()
        for segment_id in changed:
            segment = segments.get(segment_id)
            parts[f"segment:{segment_id}"] = (
                None
                if segment is None
                else {
                    **segments.dump_segment(segment),
                    "streams": self._translations.dump_segment(segment),
                }
            )
        parts |= {f"closed:{name}": segments.dump_closed(name) for name in closed}
        return parts

    def own(self, parts: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what the session itself had written.

        Raises:
            ValueError: it comes from another version or model.
        """
        head: Mapping[str, Any] = parts["head"]
        if (head["version"], head["model"]) != (VERSION, self._model.fingerprint):
            raise ValueError("the session is of another version or model")
        return head

    def restore(self, parts: Mapping[str, Any], max_targets: int) -> None:
        """Restore segments, settings and translations.

        Args:
            parts: everything that `write` returned, the newest of each name.
        Raises:
            ValueError: it comes from another version or model.
            ProtocolError: the model cannot do what that session asked for.
        """
        head = self.own(parts)
        later_s = self._started_s - head["started_s"]
        segments, closed = _of_kind("segment", parts), _of_kind("closed", parts)
        self._segments.load(head["segments"], segments.values(), closed.items(), later_s)
        settings = Settings.loaded(parts["settings"], self._model, max_targets)
        streams = {name: part["streams"] for name, part in segments.items()}
        self._translations.load(settings, head["translations"], streams, self._started_s, later_s)


def _of_kind(kind: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a kind by what they are of."""
    return {
        name.partition(":")[2]: part for name, part in parts.items() if name.startswith(f"{kind}:")
    }
