"""The policies that are compared: ours and the baselines, all as presets of the same service.

Every one runs over the same engine, cache, segmenter and wire. They differ in when they ask for a
translation, how much of it they show and commit, and the bias towards the last one. Only plain
re-translation decodes from scratch: the others offer the last hypothesis as a draft. Without a bias
that changes no token, so it changes what a baseline costs, never what it shows.
"""

from dataclasses import dataclass
from typing import Final

from service.captions.policy import PRESETS, Preset

NEVER: Final = 99  # hypotheses that must agree: more than a translation keeps
DEFAULT_STABILITY: Final = "balanced"  # what a session gets when it asks for nothing


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of the comparison.

    Attributes:
        preset: its settings in the service.
        has_partials: whether unfinished sources are translated at all.
        is_ours: whether it is a preset of the product.
        title: for tables.
    """

    preset: Preset
    title: str
    has_partials: bool = True
    is_ours: bool = False


def _mask(k: int) -> Policy:
    """Re-translation whose last k words are not shown (arXiv 2004.03643)."""
    return Policy(Preset(NEVER, k, 0.0, 1), f"re-translation, mask-{k}")


def _wait(k: int) -> Policy:
    """Word t once k + t - 1 source words are there, never taken back (arXiv 1810.08398)."""
    return Policy(Preset(1, 0, 0.0, k, shows_unstable=False, wait_words=k), f"wait-{k}")


POLICIES: Final = {
    "finals": Policy(
        Preset(NEVER, 0, 0.0, 1, shows_unstable=False), "finals only", has_partials=False
    ),
    "retranslation": Policy(Preset(NEVER, 0, 0.0, 1, verifies=False), "plain re-translation"),
    "mask-2": _mask(2),
    "mask-4": _mask(4),
    "agreement-2": Policy(Preset(2, 0, 0.0, 1, shows_unstable=False), "local agreement, n = 2"),
    **{f"wait-{k}": _wait(k) for k in (1, 3, 5, 7)},
    "ssbd": Policy(Preset(NEVER, 2, 0.2, 1), "biased verification, mask-2"),
    **{name: Policy(preset, f"ours, {name}", is_ours=True) for name, preset in PRESETS.items()},
}


def presets_of(policy: Policy) -> dict[str, Preset]:
    """Return presets by which a session that names none follows a policy."""
    return {**PRESETS, DEFAULT_STABILITY: policy.preset}
