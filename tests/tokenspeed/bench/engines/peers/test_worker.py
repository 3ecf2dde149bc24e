"""The worker that runs a peer in a process of its own: rounds, and peers that fail."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tokenspeed.bench.engines.peers import worker

PEER = '''
"""Counts its calls; prints, as libraries do."""
from pathlib import Path

print("loading, please wait")

def prepare(source, work, dtype):
    (work / "prepared").write_text(f"{source.name} {dtype}")
    return work / "prepared"

def version():
    return "1.2"

class Peer:
    def __init__(self, model, dtype, threads, streams):
        self.calls = [model.read_text(), threads, streams]

    def prefill(self, prompts):
        if prompts == [[13]]:
            raise MemoryError("thirteen")
        self.calls.append(("prefill", prompts))

    def decode(self):
        print("decoding")
        self.calls.append("decode")

    def verify(self, draft):
        self.calls.append(("verify", draft))
        Path(__file__).with_name("calls").write_text(repr(self.calls))
'''
GENERATES = """
def prepare(source, work, dtype):
    return source

def version():
    return "2"

class Peer:
    def __init__(self, *arguments):
        self.done = 0

    def generate(self, prompts, new_tokens):
        self.done += new_tokens

    def memory_mib(self):
        return self.done

    def update(self, source, grown):
        return {"update_ms": len(source) - grown}

    def logprobs(self, prompts, file):
        with open(file, "w") as out:
            out.write(repr(prompts))
"""
ROUND = {"prompts": [[1, 2], [3, 4]], "draft": [5, 6], "new_tokens": 4}


def answers(folder: Path, peer: str, *rounds: dict[str, Any]) -> list[dict[str, Any]]:
    """What a worker writes of a peer, line by line."""
    file = folder / "peer.py"
    file.write_text(peer, encoding="utf-8")
    command = [sys.executable, worker.__file__, file, folder / "source", folder, "int8", "3", "2"]
    asked = "".join(json.dumps(one) + "\n" for one in rounds)
    done = subprocess.run(
        [str(part) for part in command], input=asked, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_rounds_are_timed_whatever_the_library_prints(tmp_path: Path) -> None:
    loaded, first, second = answers(tmp_path, PEER, ROUND, ROUND)
    assert loaded == {"version": "1.2"}
    for answer in (first, second):
        assert len(answer["inter_token_ms"]) == 3
        assert min(answer["first_token_ms"], answer["verify_ms"], *answer["inter_token_ms"]) >= 0
        assert "memory_mib" in answer
    warm = [("prefill", ROUND["prompts"]), *["decode"] * 3]
    calls = ["source int8", 3, 2, *[*warm, *warm, ("verify", [5, 6])] * 2]
    assert (tmp_path / "calls").read_text() == repr(calls)


def test_what_a_peer_raises_is_its_absence(tmp_path: Path) -> None:
    loaded, good, failed = answers(tmp_path, PEER, ROUND, ROUND | {"prompts": [[13]]}, ROUND)
    assert "version" in loaded
    assert "first_token_ms" in good
    assert failed == {"absent": "MemoryError: thirteen"}
    (absent,) = answers(tmp_path, "import no_such_library")
    assert absent["absent"].startswith("ModuleNotFoundError: ")


def test_an_engine_without_steps_is_timed_by_the_difference_of_two_runs(tmp_path: Path) -> None:
    _, answer = answers(tmp_path, GENERATES, ROUND)
    assert len(answer["inter_token_ms"]) == 1
    assert answer["memory_mib"] == 4 + 1 + 4 + 1  # as the peer says: warm, first, whole, verified


def test_a_caption_update_is_the_peers_own_or_none(tmp_path: Path) -> None:
    asked = {"update": {"source": [5, 6, 7], "grown": 1}}
    loaded, known, _ = answers(tmp_path, GENERATES, asked, ROUND)
    assert loaded == {"version": "2"}
    assert known == {"update": {"update_ms": 2}}
    _, unknown = answers(tmp_path, PEER, asked)
    assert unknown == {"update": {}}
    _, failed = answers(tmp_path, GENERATES, {"update": {"source": []}}, asked)
    assert failed["absent"].startswith("TypeError: ")


def test_logprobs_go_into_a_file(tmp_path: Path) -> None:
    asked = {"logprobs": {"prompts": [[1, 2]], "file": str(tmp_path / "saved")}}
    _, answer, _ = answers(tmp_path, GENERATES, asked, ROUND)
    assert answer == {}
    assert (tmp_path / "saved").read_text() == "[[1, 2]]"
    _, failed = answers(tmp_path, PEER, asked)
    assert failed["absent"].startswith("AttributeError: ")
