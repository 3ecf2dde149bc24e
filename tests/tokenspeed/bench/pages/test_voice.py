"""The voice pipeline: one sentence in real time, and what is made of its figures."""

import json
from pathlib import Path

import pytest

from tests.service.conftest import Service, service
from tokenspeed.bench.pages.voice import (
    NAME,
    STAGES,
    Sentence,
    Voice,
    main,
    page_part,
    rows,
    stages,
)

__all__ = ["service"]


def test_a_sentence_goes_all_the_way(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "voice.md"
    page.write_text(f"# Voice\n<!-- {NAME} -->\n<!-- end {NAME} -->\n")
    into = ["--page", str(page), "--plot", str(tmp_path / "voice.svg")]
    file = tmp_path / "voice.json"
    assert main(["--url", service.http, "--sentences", "1", "--json", str(file), *into]) == 0
    found = json.loads(file.read_text())["rows"]
    assert [row["stage"] for row in found if "stage" in row] == list(STAGES)
    (sentence,) = (row["sentence"] for row in found if "sentence" in row)
    assert "welcome to" in sentence["heard"]
    # The service of the tests says everything in capitals, as soon as it is sure enough.
    assert "WELCOME TO" in "".join(text for *_, text in sentence["appends"])
    assert len(sentence["spoken"]) == len(sentence["appends"])
    first_s, end_s = sentence["words"][0][0], sentence["words"][-1][1]
    assert 0.5 <= first_s < end_s
    assert "WELCOME" in page.read_text()
    assert "first word" in (tmp_path / "voice.svg").read_text()
    before = page.read_text()
    assert main(["--from-json", str(file), *into]) == 0
    assert page.read_text() == before
    assert "WELCOME" in capsys.readouterr().out


def test_a_voice_says_when_its_words_begin() -> None:
    voice = Voice()
    sound, starts_ms, _ = voice.say("one two three", "en-us", 110)
    length_ms = 1000 * len(sound) / 2 / voice.rate
    assert len(starts_ms) == 3
    assert starts_ms == sorted(set(starts_ms))
    assert 0 <= starts_ms[0] < starts_ms[-1] < length_ms
    longer, all_starts_ms, _ = voice.say("one two three four", "en-us", 110)
    assert len(longer) > len(sound)
    assert len(all_starts_ms) == 4


def test_delays_of_each_stage() -> None:
    heard = Sentence(
        "Good morning.", [(1.0, 1.5), (1.5, 2.0)], "good morning", [1.75, 2.0],
        [(2.0625, 31.25, 15.5, "Guten "), (2.5, 62.5, 20.0, "Morgen.")], [2.0625, 2.75], [0.5, 1.0],
    )  # fmt: skip
    unheard = Sentence("Yes.", [(3.0, 3.5)])
    assert stages([heard, unheard]) == {
        "recognise": [250.0],
        "wait for words": [281.25],
        "translate": [31.25, 62.5],
        "of that the service": [15.5, 20.0],
        "synthesise": [0.5, 1.0],
        "first word": [562.5],
        "end": [500.0],
    }
    result = {
        "date": "2026-11-26", "machine": "a laptop", "versions": {"commit": "abc"}, "command": "c",
        "rows": rows([heard, unheard]),
    }  # fmt: skip
    shown = page_part(result)
    assert "| Good morning. | good morning | Guten Morgen. |" in shown
    assert "| Yes. |  |  |" in shown
    assert "10 % of the budget of 200 ms in the middle, 10 % at p95" in shown
