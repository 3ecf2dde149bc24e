"""onnxruntime-genai; its own model builder writes the ONNX graph (needs torch and transformers)."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

genai: Any = importlib.import_module("onnxruntime_genai")


def version() -> str:
    return str(genai.__version__)


def prepare(source: Path, work: Path, dtype: str) -> Path:
    """Build the graph of one precision once."""
    target = work / f"genai-{dtype}"
    if not (target / "genai_config.json").exists():
        builder = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        arguments = ["-i", str(source), "-o", str(target), "-p", dtype, "-e", "cpu"]
        cache = ["-c", str(work / "builder-cache")]
        built = subprocess.run([*builder, *arguments, *cache], capture_output=True, text=True)
        if built.returncode:
            raise RuntimeError(f"the model builder failed: {built.stderr[-250:]}")
    return target


class Peer:
    def __init__(self, model: Path, dtype: str, threads: int, streams: int) -> None:
        path = model / "genai_config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        session = config["model"]["decoder"]["session_options"]
        session["intra_op_num_threads"] = threads
        path.write_text(json.dumps(config), encoding="utf-8")
        self.model = genai.Model(str(model))

    def prefill(self, prompts: list[list[int]]) -> None:
        params = genai.GeneratorParams(self.model)
        params.set_search_options(
            max_length=128, min_length=128, batch_size=len(prompts), do_sample=False
        )
        self.generator = genai.Generator(self.model, params)
        self.generator.append_tokens(np.array(prompts, np.int32))
        self.generator.generate_next_token()

    def decode(self) -> None:
        self.generator.generate_next_token()

    def verify(self, draft: list[int]) -> None:
        self.prefill([draft])  # a batch cannot continue in only one of its rows
