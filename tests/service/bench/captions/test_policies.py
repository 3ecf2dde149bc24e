"""The compared policies as presets of a session."""

from service.bench.captions.policies import POLICIES, presets_of
from service.captions.policy import PRESETS


def test_a_policy_takes_the_place_of_the_default_preset_alone() -> None:
    presets = presets_of(POLICIES["wait-3"])
    assert presets["balanced"].wait_words == 3
    assert presets["high"] == PRESETS["high"]
    assert PRESETS["balanced"].wait_words != 3


def test_ours_are_the_presets_of_the_product() -> None:
    ours = {name: policy.preset for name, policy in POLICIES.items() if policy.is_ours}
    assert ours == PRESETS
