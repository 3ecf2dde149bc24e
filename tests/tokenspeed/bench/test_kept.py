"""What was measured is kept where it is asked for, and nowhere else."""

import json
from argparse import Namespace
from pathlib import Path

import pytest

from tokenspeed.bench.kept import SERVICE, keep
from tokenspeed.bench.result import describe_model


def test_a_result_names_machine_and_versions_and_its_page_has_the_table(tmp_path: Path) -> None:
    result, page = tmp_path / "x.json", tmp_path / "page.md"
    page.write_text("<!-- x.json --><!-- end x.json -->", encoding="utf-8")
    about = {"seconds": 2.0}
    keep(
        Namespace(json=result, page=page), [{"late": 1}], "| late |", packages=SERVICE, about=about
    )
    found = json.loads(result.read_text(encoding="utf-8"))
    assert (found["seconds"], found["rows"]) == (2.0, [{"late": 1}])
    assert {"machine", "versions", "date", "command"} <= found.keys()
    assert "| late |" in page.read_text(encoding="utf-8")


def test_nothing_is_written_that_nobody_asked_for(tmp_path: Path) -> None:
    keep(Namespace(json=None, page=None), [], "", packages=())
    assert list(tmp_path.iterdir()) == []


def test_a_page_without_a_place_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="x.json"):
        keep(Namespace(json=tmp_path / "x.json", page=page), [], "", packages=())


def test_the_weights_are_named_where_a_model_was_measured(tmp_path: Path) -> None:
    result, model = tmp_path / "x.json", tmp_path / "tiny"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    options = Namespace(json=result, page=None, model=model)
    keep(options, [], "", packages=("numpy",), machine={"gpu": "some"}, is_of_model=True)
    found = json.loads(result.read_text(encoding="utf-8"))
    assert found["model"] == describe_model(model)
    assert (found["machine"], set(found["versions"])) == (
        {"gpu": "some"},
        {"tokenspeed", "commit", "python", "numpy"},
    )
