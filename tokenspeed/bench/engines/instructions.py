"""Count the instructions of a CPU step, which do not depend on how busy the machine is.

    python -m tokenspeed.bench.engines.instructions               # print
    python -m tokenspeed.bench.engines.instructions --json FILE   # and keep
    python -m tokenspeed.bench.engines.instructions --check FILE  # fail where a step needs more

Runs `step.cpp` under callgrind with AVX2 kernels (valgrind knows no AVX-512) and random weights of
the default model's shape. Only the step itself counts, not loading.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tokenspeed.bench.page import markdown_table

ROOT = Path(__file__).parents[3]
NATIVE = ROOT / "tokenspeed" / "native"
# vocabulary, hidden, intermediate, layers, heads, KV heads, head width
SHAPE = ("17024", "512", "1536", "10", "8", "4", "64")
# name: (streams, rows of each, position)
STEPS = {
    "one token": (1, 1, 40),
    "8 streams": (8, 1, 40),
    "verify 24": (1, 24, 40),
    "prompt of 40": (1, 40, 0),
}
# Argument of step.cpp: what it means.
FORMS = {"8": "int8", "8fine": "int8 by block", "8half": "int8, float16 cache", "4": "int4"}
PARTS = {
    "products": r"tile_product|tiles<|multiply<|panel_product",
    "quantize": r"::quantize",
    "attention": r"attend|weigh<|rotate|store_keys|keep",
    "silu": r"silu_product",
    "choice": r"::choose\(",
}
TOLERANCE = 0.03
OTHER_COMPILER = 0.15  # with another compiler than the kept counts'


def build(folder: Path) -> Path:
    """Compile the driver with plain and AVX2 kernels.

    Raises:
        SystemExit: there is no compiler or no valgrind.
    """
    compiler = shutil.which("g++") or shutil.which("clang++")
    if not compiler or not shutil.which("valgrind"):
        sys.exit("install a C++ compiler and valgrind (apt-get install g++ valgrind)")
    flags = [compiler, "-O3", "-g1", "-std=c++17", "-pthread", "-Wno-psabi", f"-I{NATIVE}"]
    kernels = ["-ffp-contract=off", "-fno-strict-aliasing", "-fno-math-errno"]
    objects: list[str] = []
    for isa in ("plain", "avx2", "avx512"):
        built = str(folder / f"{isa}.o")
        # The AVX-512 table is linked and never chosen: valgrind reports a processor without it.
        options = {
            "avx2": ["-mavx2", "-mf16c"],
            "avx512": ["-mavx512f", "-mavx512bw", "-mavx512vnni"],
        }
        more = [*kernels, *options.get(isa, []), f"-DTOKENSPEED_ISA={isa}"]
        subprocess.run([*flags, *more, "-c", NATIVE / "kernels.cpp", "-o", built], check=True)
        objects.append(built)
    program = folder / "step"
    driver = Path(__file__).parent / "step.cpp"
    subprocess.run([*flags, driver, NATIVE / "step.cpp", *objects, "-o", program], check=True)
    return program


def count(program: Path, folder: Path, form: str, step: tuple[int, int, int]) -> Counter[str]:
    """Return the instructions of a run by part, and their sum as "all"."""
    out = folder / "callgrind.out"
    streams, rows, position = step
    numbers = [form, *(str(n) for n in (streams, rows, position, 1))]
    callgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    callgrind += ["--collect-atstart=no", "--toggle-collect=tokenspeed_step"]
    run = [*callgrind, str(program), "avx2", *numbers, *SHAPE]
    subprocess.run(run, check=True, capture_output=True)
    annotate = ["callgrind_annotate", "--auto=no", "--threshold=100", str(out)]
    report = subprocess.run(annotate, check=True, capture_output=True, text=True).stdout
    found: Counter[str] = Counter()
    for line in report.splitlines():
        match = re.match(r"\s*([\d,]+) \([\d. ]+%\)\s+(.*)", line)
        if not match:
            continue
        instructions, where = int(match[1].replace(",", "")), match[2]
        if "PROGRAM TOTALS" in where:
            found["all"] = instructions
        for part, pattern in PARTS.items():
            if re.search(pattern, where):
                found[part] += instructions
                break
    return found


def count_all() -> dict[str, dict[str, int]]:
    """Return the instructions of each step by part."""
    measured = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = build(folder)
        for form, called in FORMS.items():
            for label, step in STEPS.items():
                measured[f"{called}, {label}"] = dict(count(program, folder, form, step))
    return measured


def show(measured: dict[str, dict[str, int]]) -> None:
    """Print millions of instructions and the share of each part."""
    rows = []
    for label, parts in measured.items():
        shares = [parts.get(part, 0) / parts["all"] for part in PARTS]
        cells = [f"{share:.1%}" for share in (*shares, 1 - sum(shares))]
        rows.append([label, f"{parts['all'] / 1e6:.2f}", *cells])
    titles = " | ".join(["step", "million instructions", *PARTS, "rest"])
    print(markdown_table(titles, "lr" + "r" * (len(PARTS) + 1), rows))


def compiler_version() -> str:
    """Return the first line of the compiler's version."""
    compiler = shutil.which("g++") or "clang++"
    said = subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True)
    return said.stdout.splitlines()[0]


def main() -> None:
    """Measure and print; write a file, or compare with one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--check", type=Path, metavar="FILE")
    options = parser.parse_args()
    measured = count_all()
    show(measured)
    if options.json:
        kept = {"compiler": compiler_version(), "shape": SHAPE, "instructions": measured}
        options.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    if options.check:
        kept = json.loads(options.check.read_text(encoding="utf-8"))
        same = kept["compiler"] == compiler_version()
        allowed = 1 + (TOLERANCE if same else OTHER_COMPILER)
        slower = [
            f"{label}: {parts['all']:,} instructions, kept {kept['instructions'][label]['all']:,}"
            for label, parts in measured.items()
            if parts["all"] > kept["instructions"][label]["all"] * allowed
        ]
        if slower:
            sys.exit("slower steps:\n" + "\n".join(slower))


if __name__ == "__main__":
    main()
