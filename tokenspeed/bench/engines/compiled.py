"""Compile every kernel in use for GPUs that need not be present, and show what each needs.

    python -m tokenspeed.bench.engines.compiled [--targets sm_80,gfx942] [--models default-40m:int8]
                                        [--decode] [--one-each] [--kernels NAME,...]
                                        [--persistent] [--kept FILE [--update]]

Registers, shared memory and stack come from the compiled binary. A decode kernel (tiles of 16
rows) that spills registers on the GPU that its tiles were chosen for fails the check; so does any
kernel that does not compile, and a persistent step that does not fit or lacks what it is there for
(those of few rows spill around attention: up to 172 bytes with Triton 3.6, more with 3.9; that of
a small model must not).
With `--kept`, a kernel that has passed the check and has not changed since is not compiled again:
compiling all that the tests check takes two minutes.
"""

import argparse
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import triton
from triton.backends.compiler import GPUTarget

from tokenspeed.backends import cuda_small
from tokenspeed.backends.cuda import default_launch
from tokenspeed.backends.cuda_memory import padded_rows
from tokenspeed.backends.cuda_persistent import SHARED_BYTES, WORD_ROWS, most_rows, plan_of
from tokenspeed.backends.cuda_step import recorded_step
from tokenspeed.backends.cuda_weights import random_mtp, random_weights, with_mtp
from tokenspeed.bench.engines import kept_kernels
from tokenspeed.bench.engines.kept_kernels import Needs, digest_of
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.bench.page import markdown_table
from tokenspeed.kernels.compile import Job, jobs
from tokenspeed.kernels.persistent import compiling
from tokenspeed.kernels.persistent.arguments import Plan
from tokenspeed.kernels.small import compiling as small_compiling
from tokenspeed.kernels.small.arguments import SmallPlan
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.sharding import Shard

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
IN_USE = [
    "llama-3-8b:bf16",
    "llama-3-8b:int8",
    "llama-3-8b:int4",
    "llama-3.2-1b:bf16",
    "default-40m:int8",
    "default-38m:fp8",
    "qwen3-8b:int4",
    "gemma-3-4b:bf16",
]
PERSISTENT = "llama-3-8b"  # whose persistent step is compiled
NORMED = "qwen3-8b"  # the same for one row and few, where heads are normed
SMALL = "llama-3.2-1b"  # the same for few, without barriers for more
STEP_FORMS, STEP_WIDTHS = ("bf16", "int8", "int4"), (1, 2, 4, 8, 16)
MAX_LENGTH, NUM_SLOTS = 512, 16  # of its cache
SHIPPED, PROGRAMS = "default-40m", 132  # the small model whose step is compiled, and for what GPU
USED_IN_A_STEP = ("wgmma.mma_async", "cp.async.bulk.tensor")  # products and copies of Hopper's own


@dataclass(frozen=True)
class StepJob:
    """A persistent step to compile, as a `Job` is a kernel."""

    plan: Plan
    module: ClassVar[str] = compiling.__name__
    kernel: ClassVar[str] = "persistent_kernel"
    used: ClassVar[tuple[str, ...]] = USED_IN_A_STEP

    @property
    def label(self) -> str:
        """Return what tells them apart."""
        tokens = self.plan.word_rows or self.plan.width
        return (
            f"format={self.plan.form} tokens={tokens}"
            + (f" GPUs={self.plan.ranks}" if self.plan.ranks > 1 else "")
            + (" normed" if self.plan.head_norm else "")
            + (f" heads={self.plan.head_dim}" if self.plan.head_dim != 128 else "")
        )

    def compile(self, target: GPUTarget) -> Any:
        """Compile for Hopper; return Triton's compiled kernel."""
        assert target == TARGETS["sm_90"]
        return compiling.compile_step(self.plan)


@dataclass(frozen=True)
class SmallJob:
    """The step of a small model to compile, as a `Job` is a kernel."""

    plan: SmallPlan
    module: ClassVar[str] = small_compiling.__name__
    kernel: ClassVar[str] = "small_kernel"
    label: ClassVar[str] = "format=int8 tokens=1"
    used: ClassVar[tuple[str, ...]] = (*USED_IN_A_STEP, "mma.sync")

    def compile(self, target: GPUTarget) -> Any:
        """Compile for Hopper; return Triton's compiled kernel."""
        assert target == TARGETS["sm_90"]
        return small_compiling.compile_small(self.plan)


AnyJob = Job | StepJob | SmallJob


@dataclass(frozen=True)
class KernelNeeds:
    """What one kernel needs on one GPU.

    Attributes:
        registers: per thread. shared_bytes: per program. spill_bytes: per thread.
        problem: why it did not compile, or "".
    """

    target: str
    job: AnyJob
    registers: int = 0
    shared_bytes: int = 0
    spill_bytes: int = 0
    problem: str = ""

    @property
    def fails(self) -> bool:
        return bool(self.problem) or (is_decode(self.job) and self.spill_bytes > 0)


def jobs_in_use(target: str, models: list[str]) -> Iterator[Job]:
    """Yield every kernel that starting any of the models compiles, for one target."""
    for shape, form in (model.split(":") for model in models):
        if form == "fp8" and target not in ("sm_90", "sm_100"):
            continue  # refused when starting there: see check_device
        config = SHAPES[shape]
        one = replace(config, num_layers=1, layer_ropes=config.layer_ropes[:1])
        weights = random_weights(one, form, "meta")
        if (
            not config.switches
        ):  # the layer that guesses has none: one model's kernels stand for all
            weights = with_mtp(weights, random_mtp(one, "meta"))
        launch = default_launch(target, weights.step_bytes)
        yield from jobs(recorded_step(weights, EngineConfig(), launch))


def step_jobs() -> Iterator[StepJob | SmallJob]:
    """Yield the steps that are one kernel.

    The persistent step in each form: for one row, few and many, two GPUs, normed heads. Then that
    of a small model.
    """
    config, shard = SHAPES[PERSISTENT], Shard(0, 2)
    tokens, most = shard.tokens(config.vocab_size), padded_rows(EngineConfig())
    shared = {"vocab": tokens.stop, "ranks": shard.ranks, "inbox_rows": most}
    shared["exchanges"] = 2 * config.num_layers
    for form in STEP_FORMS:
        for rows in STEP_WIDTHS:
            if rows <= most_rows(form, config):
                yield StepJob(plan_of(config, form, rows, MAX_LENGTH, NUM_SLOTS))
        yield StepJob(plan_of(shard.config(config), form, 1, MAX_LENGTH, NUM_SLOTS, **shared))
        normed = SHAPES[NORMED]
        for rows in (1, most_rows(form, normed)):
            yield StepJob(plan_of(normed, form, rows, MAX_LENGTH, NUM_SLOTS))
        few = WORD_ROWS[form]
        yield StepJob(plan_of(SHAPES[SMALL], form, few, MAX_LENGTH, NUM_SLOTS, most=few))
    yield SmallJob(cuda_small.plan_of(SHAPES[SHIPPED], MAX_LENGTH, NUM_SLOTS, PROGRAMS))


def is_decode(job: AnyJob) -> bool:
    """Return whether a step of up to 16 rows uses the kernel, and is no persistent step itself."""
    return isinstance(job, SmallJob) or (
        isinstance(job, Job) and job.values.get("block_m", 16) == 16
    )


def compile_for(target: str, job: AnyJob) -> KernelNeeds:
    """Compile one kernel and read from its binary what it needs."""
    try:
        compiled = job.compile(TARGETS[target])
    except Exception as exc:  # whatever Triton raises: it is reported, and the check fails
        return KernelNeeds(target, job, problem=repr(exc)[:300])
    shared = compiled.metadata.shared
    if not isinstance(job, Job):
        lacking = [each for each in job.used if each not in compiled.asm["ptx"]]
        if lacking or shared > SHARED_BYTES:
            return KernelNeeds(target, job, 0, shared, problem=f"too large, or lacks {lacking}")
    if target.startswith("gfx"):
        text = compiled.asm["amdgcn"]
        return KernelNeeds(
            target,
            job,
            _number(text, r"\.vgpr_count:\s+(\d+)"),
            shared,
            4 * _number(text, r"\.vgpr_spill_count:\s+(\d+)"),
        )
    usage = _resource_usage(compiled.asm["cubin"])
    # A stack is not yet a spill, but asking the assembler takes as long as compiling.
    spilled = _spill_bytes(compiled.asm["ptx"]) if _number(usage, r"STACK:(\d+)") else 0
    return KernelNeeds(target, job, _number(usage, r"REG:(\d+)"), shared, spilled)


def _number(text: str, pattern: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"{pattern} is not in the compiler's report")
    return int(found[1])


def _spill_bytes(ptx: str) -> int:
    architecture = re.search(r"\.target (\w+)", ptx)
    assert architecture is not None
    # The newer of Triton's two assemblers, if it has two: Triton writes for that one.
    name = "ptxas-blackwell"
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        asked = [str(_tool(name)), "-v", f"--gpu-name={architecture[1]}", "--fmad=false"]
        asked += [file.name, "-o", os.devnull]
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
    return _number(done.stderr, r"(\d+) bytes spill stores")


def _tool(name: str) -> Path:
    found = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    return found if found.exists() else found.with_name("ptxas")


def _resource_usage(cubin: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        asked = [str(_tool("cuobjdump")), "--dump-resource-usage", file.name]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


def _table(reports: list[KernelNeeds]) -> str:
    rows = [
        (
            r.target,
            r.job.kernel,
            r.job.label,
            r.registers,
            f"{r.shared_bytes / 1024:.1f}",
            r.problem or r.spill_bytes,
        )
        for r in reports
    ]
    titles = "GPU | kernel | configuration | registers | shared KiB | spilled bytes"
    return markdown_table(titles, "llllll", rows)


def _compile_all(work: list[tuple[str, AnyJob]], processes: int) -> list[KernelNeeds]:
    if processes == 1:
        return [compile_for(target, job) for target, job in work]
    # Not forked: torch's threads may hold a lock that a forked child would wait for endlessly.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        return list(pool.map(compile_for, *zip(*work, strict=True)))


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return 1 if a kernel does not compile or a decode kernel spills."""
    parser = argparse.ArgumentParser(prog="tokenspeed.bench.engines.compiled")
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument(
        "--models", default=",".join(IN_USE), help="models to compile for: SHAPE:FORM,..."
    )
    parser.add_argument("--decode", action="store_true", help="only tiles of 16 rows")
    parser.add_argument(
        "--one-each",
        action="store_true",
        help="only one of those that differ only in the sizes of models and steps",
    )
    parser.add_argument("--kernels", help="only these kernels: NAME,...")
    parser.add_argument(
        "--persistent", action="store_true", help=f"also the steps of {PERSISTENT} and {SHIPPED}"
    )
    parser.add_argument("--kept", type=Path, help="file with what kernels used before, as JSON")
    parser.add_argument(
        "--update", action="store_true", help="write what they use now to that file"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes to compile with"
    )
    options = parser.parse_args(arguments)
    names = options.kernels.split(",") if options.kernels else None
    work: dict[Any, tuple[str, AnyJob]] = {}
    for target in options.targets.split(","):
        for job in jobs_in_use(target, options.models.split(",")):
            if names is not None and job.kernel not in names:
                continue
            if is_decode(job) or not options.decode:
                kind = (job.kernel, job.label) if options.one_each else job
                work.setdefault((target, kind), (target, job))
    if options.persistent:
        work |= {job: ("sm_90", job) for job in step_jobs()}
    digests = {(target, job): digest_of(target, job) for target, job in work.values()}
    kept = kept_kernels.read(options.kept) if options.kept else {}
    new = [each for each, digest in digests.items() if digest not in kept]
    compiled = {(r.target, r.job): r for r in _compile_all(new, options.jobs)}
    reports = [
        compiled.get(each) or KernelNeeds(*each, *kept[digest]) for each, digest in digests.items()
    ]
    print(_table(reports))
    failed = [r for r in reports if r.fails]
    print(f"{len(reports)} kernels, {len(new)} of them compiled now, {len(failed)} fail")
    if options.update:
        needs = {
            digests[r.target, r.job]: Needs(r.registers, r.shared_bytes, r.spill_bytes)
            for r in reports
            if not r.fails
        }
        kept_kernels.write(options.kept, kept | needs)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
