"""A server with the presets of a policy: what is asked of it reaches `serve`."""

from pathlib import Path

import pytest

from service.bench.captions.policies import POLICIES
from service.bench.captions.server import main


def test_only_a_known_policy_is_served(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--policy", "guess"]):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
    said = capsys.readouterr().err
    assert "required: --policy" in said
    assert all(repr(name) in said or name in said for name in POLICIES)


def test_what_follows_the_policy_goes_to_serve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "no-model"
    assert main(["--policy", "mask-2", "--port", "0", "--model", str(absent)]) == 2
    assert str(absent) in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["--policy", "mask-2", "--no-such-setting", "1"])
    assert "--no-such-setting" in capsys.readouterr().err
