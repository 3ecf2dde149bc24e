"""Each source file has its test at the same place under `tests/`, with the same name."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("tokenspeed", "service", "docs", "clients")

# The whole of it needs a GPU, valgrind or another program of the field.
NOT_HERE = frozenset(
    {
        "tokenspeed/bench/engines/group_step.py",  # several GPUs; test_cuda_group has its bits
        "tokenspeed/bench/engines/instructions.py",  # valgrind: `make instructions` runs it in CI
        "tokenspeed/bench/engines/kernel_times.py",  # times on a GPU; its kernels have their tests
        "tokenspeed/bench/engines/peers/ct2.py",  # CTranslate2; test_compare: its absence is told
        "tokenspeed/bench/engines/peers/genai.py",  # onnxruntime-genai; as above
        "tokenspeed/bench/engines/peers/llama.py",  # llama.cpp; as above
        "tokenspeed/bench/engines/persistent_step.py",  # Hopper; test_cuda_persistent has its bits
        "tokenspeed/kernels/timing.py",  # events of a GPU
    }
)

# Kernels in parts, for which Triton has no interpreter.
PERSISTENT = (
    "grid layouts producers word_producer products int4 parts qkv own_rows attention projection "
    "gate_up head ranks kernel"
)
SMALL = "attend matrices head kernel"

# Parts of something larger: the test that runs them. A line goes away when they get their own.
ELSEWHERE = (
    {
        "tokenspeed/kernels/slots.py": "tokenspeed/kernels/test_attention.py",  # two named tuples
    }
    | {
        f"tokenspeed/kernels/persistent/{name}.py": "tokenspeed/backends/test_cuda_persistent.py"
        for name in PERSISTENT.split()
    }
    | {
        f"tokenspeed/kernels/small/{name}.py": "tokenspeed/backends/test_cuda_small.py"
        for name in SMALL.split()
    }
)


def mirrored(source: str) -> Path:
    path = Path(source)
    return ROOT / "tests" / path.parent / f"test_{path.name}"


def sources() -> list[str]:
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return [str(path.relative_to(ROOT)) for path in found if not path.name.startswith("__")]


def test_each_source_file_has_its_test_at_the_mirrored_place() -> None:
    bare = [source for source in sources() if not mirrored(source).is_file()]
    assert sorted(set(bare) - NOT_HERE - ELSEWHERE.keys()) == []


def test_the_exceptions_are_needed_and_their_tests_are_there() -> None:
    named = NOT_HERE | ELSEWHERE.keys()
    assert sorted(source for source in named if not (ROOT / source).is_file()) == []
    assert sorted(source for source in named if mirrored(source).is_file()) == []
    missing = [test for test in ELSEWHERE.values() if not (ROOT / "tests" / test).is_file()]
    assert missing == []
