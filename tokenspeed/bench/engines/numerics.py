"""How far log-probabilities are from float32: our forms and paths, plain torch and vLLM.

    python -m tokenspeed.bench.engines.numerics bf16 int8 int4 fp8 --peer-path FOLDER --json FILE

A model of random weights, three layers of the width of LLaMA-3.2-1B, is written in each form. All
engines read the same rounded weights and give the log-probabilities of all tokens after each token
of a few prompts; float32 over the same weights is the exact answer. Of fp8 there is no checkpoint:
each engine makes it of bf16 by itself, and its errors, beside float32 over bf16, have that rounding
in them. Graph and kernel run side by side with vLLM, each form in a process of its own: no times.
"""

import argparse
import json
import math
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from tokenspeed.backends import Backend
from tokenspeed.backends.cuda import CudaBackend, persistent_rows, small_fits
from tokenspeed.backends.cuda_weights import FORMS, load_weights, row_dtype
from tokenspeed.backends.reference import ReferenceBackend
from tokenspeed.bench.engines.compare import Worker
from tokenspeed.bench.engines.compare_gpu import GPU_PEERS, write_shape
from tokenspeed.bench.engines.group_step import SMALL
from tokenspeed.bench.engines.peers import Contestant
from tokenspeed.bench.engines.steps import make_step
from tokenspeed.bench.result import Row, describe_cpu, make_result, write_result
from tokenspeed.errors import BackendUnavailable
from tokenspeed.kernels.arithmetic import INTERPRETED
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig, ModelConfig
from tokenspeed.model.quantized import write_quantized
from tokenspeed.model.weights import HEAD, weight_shapes

PROMPTS, TOKENS = 8, 65  # the last token of a prompt is only what its others could go on with
SPREAD: Final = 2.5  # nats, the deviation of logits: a random head of the usual size has 1
TIE: Final = 1e-3  # nats; of tokens that are nearer, either may be called the most likely
BITS: Final = {"int8": 8, "int4": 4}
DEVICE: Final = "cpu" if INTERPRETED else "cuda"

Floats = NDArray[np.float32]
Found = tuple[Row, Floats]  # what to say of a path or an engine, and its log-probabilities


def make_tensors(shape: ModelConfig) -> dict[str, Tensor]:
    """Return random weights in bfloat16; the head makes logits spread as a trained one does."""
    generator = torch.Generator().manual_seed(5)
    tensors = {}
    for name, size in weight_shapes(shape).items():
        deviation = size[-1] ** -0.5 * (SPREAD if name == HEAD else 1)
        values = torch.ones(size)
        if len(size) == 2:
            values = torch.randn(size, generator=generator) * deviation
        tensors[name] = values.bfloat16()
    return tensors


def round_head(head: Tensor, bits: int) -> Tensor:
    """Round a matrix so that integers of 8 or 4 bits with scales, and 16 bits, hold it exactly.

    vLLM keeps the head in 16 bits, we quantise it. Values become multiples of a power of two, and
    the largest of what shares a scale the largest multiple, so that the power is the scale.

    Args:
        head: [out, in], bfloat16.
    """
    groups = head.float().view(-1, head.shape[1] if bits == 8 else 128)
    most = 127 if bits == 8 else 8
    largest, where = groups.abs().max(-1, keepdim=True)
    step = 2.0 ** round(math.log2(largest.mean().item() / most))
    rounded = (groups / step).round().clamp(1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1)
    rounded.scatter_(-1, where, groups.gather(-1, where).sign() * most)
    return (rounded * step).view(head.shape).bfloat16()


def write_model(
    shape: ModelConfig, tensors: dict[str, Tensor], form: str, folder: Path
) -> tuple[Path, Path]:
    """Write weights in bf16, int8 or int4, as we read them and as vLLM does.

    Returns:
        Two directories of the same values, which may be one.
    """
    tensors = dict(tensors)
    if form in BITS:
        tensors[HEAD] = round_head(tensors[HEAD], BITS[form])
    write_shape(shape, folder)
    save_file(tensors, folder / "model.safetensors")
    if form not in BITS:
        return folder, folder
    ours, theirs = folder / "ours", folder / "vllm"
    write_quantized(folder, ours, BITS[form], max_shard_bytes=1 << 34)
    (file,) = ours.glob("*.safetensors")
    # vLLM keeps scales in the dtype of activations.
    stored = {
        name: tensor.half() if name.endswith("_scale") else tensor
        for name, tensor in load_file(file).items()
    }
    save_file(stored, file)
    theirs.mkdir()
    config = json.loads((ours / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"]["ignore"].append("lm_head")
    (theirs / "config.json").write_text(json.dumps(config), encoding="utf-8")
    without = {name: tensor for name, tensor in stored.items() if not name.startswith(HEAD)}
    save_file(without | {HEAD: tensors[HEAD]}, theirs / "model.safetensors")
    return ours, theirs


def make_prompts(vocab_size: int) -> NDArray[np.int32]:
    return np.random.default_rng(3).integers(3, vocab_size, (PROMPTS, TOKENS), dtype=np.int32)


def logprobs(backend: Backend, prompts: NDArray[np.int32], width: int) -> Floats:
    """Return log-probabilities of all tokens after each token but the last.

    Args:
        prompts: [prompts, tokens]; each goes into its own slot.
        width: rows of a step.
    Returns:
        [prompts * (tokens - 1), vocab_size].
    """
    found = []
    for slot, prompt in enumerate(prompts[:, :-1]):
        for begin in range(0, len(prompt), width):
            tokens = prompt[begin : begin + width]
            rows = np.arange(len(tokens))
            found.append(
                backend.logits(make_step(tokens, np.full_like(rows, slot), begin + rows, rows))
            )
    return torch.from_numpy(np.concatenate(found)).double().log_softmax(-1).float().numpy()


def torch_logprobs(folder: Path, prompts: NDArray[np.int32], dtype: torch.dtype) -> Floats:
    """Return what plain torch gives; float32 is the exact answer."""
    torch.backends.cuda.matmul.allow_tf32 = False
    config = EngineConfig(num_slots=len(prompts), max_length=prompts.shape[1])
    backend = ReferenceBackend(open_checkpoint(folder), config, DEVICE, dtype)
    return logprobs(backend, prompts, prompts.shape[1])


def own_logprobs(folder: Path, prompts: NDArray[np.int32], form: str) -> list[Found]:
    """Return what each of our paths gives.

    The graph gets a prompt in one step; the kernel, where GPU and form have it, row after row.
    """
    weights = load_weights(open_checkpoint(folder), form, DEVICE)
    paths = {"graph": prompts.shape[1] - 1}
    if small_fits(weights, None) or persistent_rows(weights, None):
        paths["one kernel"] = 1
    found = list[Found]()
    for path, width in paths.items():
        config = EngineConfig(num_slots=len(prompts), max_length=512, max_step_tokens=width)
        backend = CudaBackend(weights, config, persistent=path == "one kernel")
        values = logprobs(backend, prompts, width)
        backend.close()
        row: Row = {"engine": "tokenspeed", "path": path, "activations": _name(row_dtype(form))}
        if found:
            row["equals_graph"] = bool(np.array_equal(values, found[0][1]))
        found.append((row, values))
    return found


def peer_logprobs(
    folder: Path, prompts: NDArray[np.int32], form: str, python: str, path: str
) -> list[Found]:
    """Return what vLLM gives.

    Raises:
        BackendUnavailable: it does not start or run.
    """
    who = Contestant("vllm", GPU_PEERS["vllm"], "bfloat16" if form == "bf16" else form)
    worker = Worker(who, python, folder, folder, ["1", str(len(prompts))], path)
    file = folder / f"{form}.npy"
    try:
        if worker.absent is None:
            asked = {"prompts": prompts.tolist(), "file": str(file)}
            worker.absent = worker.ask({"logprobs": asked}).get("absent")
        if worker.absent is not None:
            # The reason is in the log where vLLM starts other processes.
            print(worker.log()[-4000:], file=sys.stderr)
            raise BackendUnavailable(worker.absent)
        weights_gib = worker.weights_gib()
    finally:
        worker.close()
    row: Row = {"engine": "vllm", "version": worker.version}
    row["activations"] = "float16" if form in BITS else "bfloat16"
    row["weights_gib"] = weights_gib  # as it says itself; the head and the embedding in 16 bits
    if form == "fp8":
        row["detail"] = (
            "weights rounded with one scale for a matrix; activations to float8 where they are read"
        )
    return [(row, np.load(file))]


def compare(found: Floats, exact: Floats) -> Row:
    """Compare log-probabilities, [positions, vocab_size], with the exact ones.

    Returns:
        The largest error and the root mean square of all, in nats; the mean KL divergence of a
        position; and of the positions whose most likely token is no tie, how many have the same.
    """
    error = found.astype(np.float64) - exact
    second, first = np.partition(exact, -2, axis=-1)[:, -2:].T
    is_clear = first - second > TIE
    is_same = found.argmax(-1) == exact.argmax(-1)
    return {
        "largest_error": _rounded(np.abs(error).max()),
        "rms_error": _rounded(np.sqrt((error**2).mean())),
        "kl": _rounded(-(np.exp(exact.astype(np.float64)) * error).sum(-1).mean()),
        "same_best": int((is_same & is_clear).sum()),
        "clear": int(is_clear.sum()),
        "positions": len(exact),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def measure(
    forms: Sequence[str], work: Path, peer_python: str, peer_path: str
) -> tuple[list[Row], dict[str, str]]:
    """Measure all engines in all forms.

    Args:
        work: an empty folder, for a few gigabytes.
        peer_path: the folder that holds vLLM; "" leaves it out.
    Returns:
        The rows; the reasons of what is absent.
    """
    prompts, tensors = make_prompts(SMALL.vocab_size), make_tensors(SMALL)
    folders: dict[str, tuple[Path, Path]] = {}
    jobs = list[tuple[str, str, Future[list[Found]]]]()
    spawn = multiprocessing.get_context("spawn")
    with ThreadPoolExecutor() as threads, ProcessPoolExecutor(len(forms), spawn) as processes:
        for form in forms:
            stored = _stored(form)
            if stored not in folders:
                folders[stored] = write_model(SMALL, tensors, stored, work / stored)
            ours, theirs = folders[stored]
            jobs.append(("tokenspeed", form, processes.submit(own_logprobs, ours, prompts, form)))
            if peer_path:
                asked = (theirs, prompts, form, peer_python, peer_path)
                jobs.append(("vllm", form, threads.submit(peer_logprobs, *asked)))
        exact, rows = dict[str, Floats](), list[Row]()
        for form, (ours, _) in folders.items():
            exact[form] = torch_logprobs(ours, prompts, torch.float32)
            for dtype in dict.fromkeys((row_dtype(form), torch.bfloat16)):
                row = {"engine": "torch", "form": form, "activations": _name(dtype)}
                rows.append(row | compare(torch_logprobs(ours, prompts, dtype), exact[form]))
    absent = {}
    for engine, form, job in jobs:
        if failure := job.exception():
            absent[f"{engine} {form}"] = str(failure)
            continue
        for about, found in job.result():
            rows.append({**about, "form": form, **compare(found, exact[_stored(form)])})
    return rows, absent


def _stored(form: str) -> str:
    """Return the form of the checkpoint."""
    return "bf16" if form == "fp8" else form


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tokenspeed.bench.engines.numerics")
    parser.add_argument("forms", nargs="+", choices=FORMS)
    parser.add_argument("--peer-python", default=sys.executable, help="Python that runs vLLM")
    parser.add_argument(
        "--peer-path", default="", help="folder with vLLM, for its PYTHONPATH alone"
    )
    parser.add_argument("--json", type=Path, required=True, help="the result file to write")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as work:
        rows, absent = measure(options.forms, Path(work), options.peer_python, options.peer_path)
    machine = describe_cpu() if INTERPRETED else {"gpu": torch.cuda.get_device_name()}
    program = "python -m tokenspeed.bench.engines.numerics"
    result = make_result(rows, machine=machine, packages=("torch", "triton"), program=program)
    for row in rows:
        if version := row.pop("version", None):
            result["versions"][row["engine"]] = version
    workload: dict[str, Any] = {
        "shape": f"{SMALL.num_layers} layers of LLaMA-3.2-1B, {SMALL.vocab_size} tokens, random",
        "prompts": PROMPTS,
        "positions_each": TOKENS - 1,
        "logit_deviation_nats": SPREAD,
        "tie_nats": TIE,
        "exact": "float32 over the weights as stored; of fp8, which engines round, over bf16",
    }
    write_result({"workload": workload, "absent": absent, **result}, options.json)
    for row in rows:
        print(json.dumps(row))
    for label, why in absent.items():
        print(f"{label} is absent: {why}")


if __name__ == "__main__":
    main()
