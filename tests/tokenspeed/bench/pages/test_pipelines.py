"""Frameworks for voice agents: one sentence through each in real time, and what is made of it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lazily import Lazily
from tests.service.conftest import Service, service
from tokenspeed.bench.pages.voice import Sentence
from tokenspeed_client.captioning.heard import Heard

if TYPE_CHECKING:
    from tokenspeed.bench.pages import pipelines
else:
    pipelines = Lazily("tokenspeed.bench.pages.pipelines")  # it imports both frameworks

__all__ = ["service"]
PACKAGES = ("pipecat", "LiveKit Agents")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_sentence_goes_all_the_way(
    service: Service, package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "voice.md"
    page.write_text(f"# Voice\n<!-- {pipelines.NAME} -->\n<!-- end {pipelines.NAME} -->\n")
    file, of_one = tmp_path / "pipelines.json", ["--sentences", "1", "--package", package]
    into = ["--page", str(page)]
    for _ in range(3):  # sound comes in real time: a busy machine drops some, and hears other words
        assert pipelines.main(["--url", service.http, *of_one, "--json", str(file), *into]) == 0
        found = json.loads(file.read_text())["rows"]
        utterances = next(row["utterances"] for row in found if "utterances" in row)
        if any("welcome to" in each["text"] for each in utterances):
            break
    assert [row["measure"] for row in found if "measure" in row] == list(pipelines.MEASURES)
    (utterance,) = utterances
    assert "welcome to" in utterance["text"]
    # The service of the tests says everything in capitals, and goes on with what it had committed
    # of earlier hypotheses, which depend on how fast the machine is.
    assert utterance["caption"].isupper()
    assert utterance["heard_s"] < utterance["sound_s"]
    if package == "pipecat":  # which speaks what is sure while the rest is being said
        assert utterance["sound_s"] < utterance["caption_s"]
    else:
        assert utterance["said_s"] <= utterance["caption_s"] < utterance["sound_s"]
    assert package in page.read_text()
    before = page.read_text()
    assert pipelines.main(["--from-json", str(file), *into]) == 0
    assert page.read_text() == before
    assert package in capsys.readouterr().out


def test_what_comes_out_belongs_to_what_was_heard() -> None:
    notes = pipelines.Notes()
    for text, is_final in (("a", False), ("a b", True), ("x", False), ("", True), ("c", True)):
        notes.heard(Heard(text, is_final, 500.0))
    assert [each.text for each in notes.utterances] == ["a b", "c"]
    notes.captioned("")  # none in time, and so nothing is said
    notes.captioned("C")
    notes.sounded()
    first, second = notes.utterances
    assert (first.caption_s, first.sound_s) == (None, None)
    assert second.caption == "C"
    assert second.sound_s is not None


def test_delays_are_those_of_a_sentence() -> None:
    sentences = [
        Sentence("Good morning.", [(1.0, 1.5), (1.5, 2.0)]),
        Sentence("Yes.", [(5.0, 5.5)]),
        Sentence("No.", [(9.0, 9.5)]),
    ]
    notes = pipelines.Notes()
    notes.utterances = [
        pipelines.Utterance(1.0, 1.75, 2.5, "good", 2.625, "GUT", 2.25),
        pipelines.Utterance(1.75, 2.5, 3.0, "morning", 3.25, "MORGEN", 3.5),
        pipelines.Utterance(4.75, 5.75, 6.0, "yes"),
    ]
    assert pipelines.delays(sentences, notes) == {
        "first hypothesis": [250.0, 250.0],
        "first word": [750.0],
        "sentence": [1250.0],
        "translate": [250.0],
    }


def test_every_package_is_measured() -> None:
    assert tuple(pipelines.PACKAGES) == PACKAGES


def test_the_page_has_a_row_a_measure() -> None:
    row = {"package": "pipecat", "measure": "translate", "count": 8, "p50_ms": 12.0, "max_ms": 20.0}
    result = {
        "date": "2026-11-26", "machine": "a laptop", "versions": {"commit": "abc"}, "command": "c",
        "rows": [row, {"package": "pipecat", "utterances": []}],
    }  # fmt: skip
    shown = pipelines.page_part(result)
    assert f"| pipecat | translate | {pipelines.MEASURES['translate']} | 8 | 12.0 | 20.0 |" in shown
