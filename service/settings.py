"""What a session was asked to do, and what the model can: settings merged, checked, reported.

Knows the protocol's parameters; does not know segments or time.
"""

from dataclasses import dataclass, replace
from typing import Final

from service.errors import ProtocolError
from service.policy import PRESETS, Preset
from service.protocol import (
    LanguageInfo,
    Mode,
    SessionParams,
    SourceParams,
    Stability,
    TargetParams,
)

MAX_CONTEXT: Final = 2  # earlier sentence pairs


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the session must know of the model."""

    name: str
    languages: tuple[LanguageInfo, ...]
    default_context: int = 0

    def translates(self, source: str | None, target: str) -> bool:
        """Whether the model knows the pair; None is a source that is not known."""
        return any(target in info.targets for info in self.languages if source in (None, info.code))


@dataclass(frozen=True, slots=True)
class Settings:
    """A session's settings as they are applied. `source` None: not known."""

    source: str | None = None
    targets: tuple[str, ...] = ()
    mode: Mode = "captions"
    stability: Stability = "balanced"
    context: int = 0
    partials: bool = True
    timing: bool = False

    @property
    def preset(self) -> Preset:
        """How eager translations are."""
        return PRESETS["append_only" if self.mode == "append_only" else self.stability]

    def merged(self, params: SessionParams, model: ModelInfo, max_targets: int) -> "Settings":
        """Return the settings with an update applied.

        Raises:
            ProtocolError: a value cannot be used; then nothing of the update is.
        """
        merged = replace(
            self,
            **{
                name: value
                for name in ("mode", "stability", "context", "partials", "timing")
                if (value := getattr(params, name)) is not None
            },
        )
        if merged.context > MAX_CONTEXT:
            problem = f"is {merged.context}, expected 0 to {MAX_CONTEXT}"
            raise ProtocolError("invalid_event", problem, "session.context")
        if params.source is not None:
            merged = replace(merged, source=_language(params.source.language))
        if params.targets is not None:
            # "auto" is no target: no model translates into it, and the check below says so.
            codes = (_language(target.language) or "auto" for target in params.targets)
            merged = replace(merged, targets=tuple(dict.fromkeys(codes)))
        if len(merged.targets) > max_targets:
            problem = f"has {len(merged.targets)} languages, at most {max_targets}"
            raise ProtocolError("invalid_event", problem, "session.targets")
        merged._check_pairs(model, has_targets=params.targets is not None)
        return merged

    def applied(self) -> SessionParams:
        """Return what the client is told; what is not applied yet is reported as empty."""
        return SessionParams(
            source=SourceParams(self.source or "auto"),
            targets=tuple(TargetParams(target) for target in self.targets),
            mode=self.mode,
            stability=self.stability,
            context=self.context,
            glossary=(),
            do_not_translate=(),
            partials=self.partials,
            timing=self.timing,
        )

    def _check_pairs(self, model: ModelInfo, *, has_targets: bool) -> None:
        known = {info.code for info in model.languages}
        if self.source is not None and self.source not in known:
            problem = f"{self.source!r} is not among {', '.join(sorted(known))}"
            raise ProtocolError("unsupported_language", problem, "session.source.language")
        for i, target in enumerate(self.targets):
            if not model.translates(self.source, target):
                problem = f"{self.source or 'auto'} to {target} is not supported"
                at_target = f"session.targets[{i}].language"
                param = at_target if has_targets else "session.source.language"
                raise ProtocolError("unsupported_language", problem, param)


def _language(code: str | None) -> str | None:
    """`en-US` -> `en`; `auto` -> None."""
    primary = (code or "auto").replace("_", "-").split("-")[0].lower()
    return None if primary == "auto" else primary
