"""A kernel can be read and compiled alone: its file imports torch, Triton, numpy and kernels.

The other rules about imports are contracts in pyproject.toml, which `lint-imports` holds; it can
forbid packages, but not allow some alone.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tokenspeed.kernels

FILES = sorted(Path(tokenspeed.kernels.__path__[0]).rglob("*.py"))
ALLOWED = {"torch", "triton", "numpy", "tokenspeed.kernels", *sys.stdlib_module_names}


def imported(source: str) -> Iterator[str]:
    """Every module that a source names in an import, wherever it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            assert node.module is not None
            yield node.module


def foreign(source: str) -> list[str]:
    """What a kernel's file may not import."""
    return [
        module
        for module in imported(source)
        if not ALLOWED & {".".join(module.split(".")[:length]) for length in (1, 2)}
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_kernels_import_torch_triton_numpy_and_kernels(path: Path) -> None:
    assert foreign(path.read_text(encoding="utf-8")) == []


def test_anything_else_is_found() -> None:
    source = "import torch.nn\nfrom tokenspeed.kernels.tile import x\ndef f():\n    {}\n"
    for wrong in ("import tokenspeed.errors", "from tokenspeed.model import llama", "import tqdm"):
        assert foreign(source.format(wrong)) == [wrong.split()[1]]
