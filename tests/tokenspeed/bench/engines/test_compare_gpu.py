"""`tokenspeed bench compare` on a GPU, here on the interpreter: peers that agree, absent ones."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeModel
from tests.lazily import Lazily
from tokenspeed.bench.engines import compare_gpu
from tokenspeed.bench.engines.compare import Worker
from tokenspeed.bench.engines.compare_gpu import (
    compare_on_gpu,
    contestants,
    play_updates,
    write_shape,
)
from tokenspeed.bench.engines.peers import Contestant
from tokenspeed.bench.engines.shapes import FAMILY_WORDS, SHAPES, step_weights
from tokenspeed.cli import main
from tokenspeed.errors import BackendUnavailable
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.families import load_model_config

transformers = Lazily("transformers")


def test_peers_take_turns_and_absent_ones_are_named(make_model: MakeModel, tmp_path: Path) -> None:
    (tmp_path / "vllm.py").write_text("raise ImportError('only a name')\n", encoding="utf-8")
    model, seen = make_model(), []
    rows, versions, absent = compare_on_gpu(
        open_checkpoint(model).config,
        model,
        contestants(["transformers", "vllm"], []),
        python=sys.executable,
        paths={"vllm": str(tmp_path)},
        streams=[1, 2],
        rounds=1,
        read_bytes_per_s=1e9,
        label="tiny",
        progress=lambda: seen.append(1),
    )
    assert absent == {"vllm bfloat16": "ImportError: only a name"}
    assert list(versions) == ["transformers"]
    assert len(seen) == 8 + 4  # and updates, of which these two know nothing
    assert all("weights_gib" not in row for row in rows)  # they do not say it
    assert [(row["engine"], row["dtype"], row["streams"]) for row in rows] == [
        ("transformers", "bf16", 1),
        ("transformers", "bf16", 2),
    ]
    for row in rows:
        assert row["first_token_ms_p50"] > 0
        assert 0 < row["inter_token_ms_p50"] <= row["inter_token_ms_p95"]
        assert row["prompt_tokens"] == 64
        assert row["start_s"] > 0
        assert row["bandwidth_share"] >= 0


TOY = """
prepare = lambda source, work, dtype: source
version = lambda: "1"

class Peer:
    def __init__(self, *_):
        print("Model loading took 5.35 GiB memory and 0.9 seconds")

    def generate(self, *_):
        pass
"""


def test_engines_can_run_one_after_another(make_model: MakeModel, tmp_path: Path) -> None:
    toy = tmp_path / "toy.py"
    toy.write_text(TOY, encoding="utf-8")
    twice = [Contestant("toy", str(toy), dtype) for dtype in ("float32", "bfloat16")]
    asked: dict[str, Any] = {"python": sys.executable, "paths": {}, "label": "tiny"}
    asked |= {"streams": [1, 2], "rounds": 1, "read_bytes_per_s": 0, "is_apart": True}
    events: list[str] = []

    class Seen(Worker):
        def __init__(self, *arguments: Any) -> None:
            events.append("starts")
            super().__init__(*arguments)

        def close(self) -> None:
            super().close()
            events.append("ends")

    model = make_model()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare_gpu, "Worker", Seen)
        rows, *_ = compare_on_gpu(open_checkpoint(model).config, model, twice, **asked)
    assert events == ["starts", "ends"] * 2
    assert [row["streams"] for row in rows] == [1, 2, 1, 2]
    assert [row["weights_gib"] for row in rows] == [5.35] * 4  # as it said itself


def test_peers_are_compared_in_the_forms_that_they_have(make_model: MakeModel) -> None:
    names = ["tokenspeed", "transformers", "vllm:int4", "vllm:bf16", "vllm:fp8", "vllm:ngram"]
    who = contestants(names, ["int8"])
    assert [(one.peer, one.dtype) for one in who] == [
        ("tokenspeed", "int8"),
        ("transformers", "bfloat16"),
        ("vllm", "int4"),
        ("vllm", "bfloat16"),
        ("vllm", "fp8"),
        ("vllm", "ngram"),
    ]
    assert compare_gpu._form(who[4]) == {"dtype": "fp8"}
    guessing = compare_gpu._form(who[5])  # not to be taken for plain decoding
    assert guessing["dtype"] == "bf16"
    assert "best case" in guessing["detail"]
    with pytest.raises(ValueError, match="transformers in int4 is not compared, expected some"):
        contestants(["transformers:int4"], [])
    # Of quantised peers, the head is not quantised.
    config = open_checkpoint(make_model()).config
    head, all_weights = config.vocab_size * config.hidden_size, step_weights(config)
    ours, theirs = (compare_gpu._step_bytes(one, config) for one in (who[0], who[2]))
    assert ours == all_weights
    assert theirs == (all_weights - head) * 4.125 / 8 + head * 2


class Waiting:
    """A worker whose engine takes ever longer, and may fail."""

    def __init__(self, name: str, fails_at: int = 99) -> None:
        self.who = Contestant(name, f"{name}.py", "bfloat16")
        self.absent: str | None = None
        self.asked: list[dict[str, Any]] = []
        self._fails_at = fails_at

    def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(asked["update"])
        turn = len(self.asked)
        if turn == self._fails_at:
            return {"absent": "out of memory"}
        return {"update": {"update_ms": float(turn)}}


def test_every_engine_gets_the_same_updates_and_the_first_does_not_count() -> None:
    first, other, failing = Waiting("a"), Waiting("b"), Waiting("c", fails_at=3)
    seen: list[int] = []
    workers: Any = [first, other, failing]
    times = play_updates(workers, 100, 3, lambda: seen.append(1))
    assert times == {worker.who: {"update_ms": [2.0, 3.0, 4.0]} for worker in (first, other)}
    assert failing.absent == "out of memory"
    assert len(failing.asked) == 3
    assert first.asked == other.asked
    for asked in first.asked:
        assert len(asked["source"]) == len(asked["other"]) == 68
        assert len(asked["held"]) == 20
        assert (asked["grown"], asked["new_tokens"]) == (4, 27)
    assert len({tuple(asked["source"]) for asked in first.asked}) == 4
    assert len(seen) == 12


def test_a_gpu_comparison_knows_its_shapes(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["bench", "compare", "--device", "cuda", "--shape", "llama-9"]
    assert main(asked) == 2
    assert "shape is 'llama-9', known: llama-3-8b" in capsys.readouterr().err


@pytest.mark.parametrize("name", FAMILY_WORDS)
def test_a_family_is_written_as_itself(name: str, tmp_path: Path) -> None:
    assert load_model_config(write_shape(SHAPES[name], tmp_path)) == SHAPES[name]
    (architecture,) = json.loads((tmp_path / "config.json").read_text())["architectures"]
    assert hasattr(transformers, architecture)
    with pytest.raises(BackendUnavailable, match="no peer knows a LLaMA with qk_norm"):
        write_shape(replace(SHAPES["llama-3-8b"], qk_norm="head"), tmp_path)


def test_a_shape_is_written_as_it_is_read(make_model: MakeModel, tmp_path: Path) -> None:
    # Seconds of imports, which every worker of the tests would make if they stood above.
    from tokenspeed.bench.engines.peers import hf_gpu

    config = open_checkpoint(make_model()).config
    assert load_model_config(write_shape(config, tmp_path)) == config
    peer = hf_gpu.Peer(tmp_path, "bfloat16", 1, 1)  # random weights
    peer.prefill([[1, 2, 3]])
    peer.decode()
    with pytest.raises(ValueError, match="peers on a GPU are gpt-fast, expected some of"):
        contestants(["gpt-fast"], ["bf16"])
