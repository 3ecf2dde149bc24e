"""What each kernel needed when last compiled, so that unchanged ones are not compiled again.

A digest covers everything that a binary depends on: the code of the kernel's module and of the
modules of this package that it imports, the job, the target, and Triton's version. Knows files and
digests; compiles nothing.
"""

import ast
import hashlib
import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

import triton

_KERNELS = "tokenspeed.kernels."


class Needs(NamedTuple):
    """What a kernel needs: registers and spilled bytes per thread, shared bytes per program."""

    registers: int
    shared_bytes: int
    spill_bytes: int


def read(path: Path) -> dict[str, Needs]:
    """Return what is kept in a file, by digest; nothing if there is no such file."""
    if not path.exists():
        return {}
    return {digest: Needs(*needs) for digest, needs in json.loads(path.read_text()).items()}


def write(path: Path, kept: dict[str, Needs]) -> None:
    """Write what kernels need, one line for each."""
    lines = (f'  "{digest}": {json.dumps(needs)}' for digest, needs in sorted(kept.items()))
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


class Compilable(Protocol):
    """A kernel to compile; its representation is all that its binary depends on but code."""

    @property
    def module(self) -> str: ...


def digest_of(target: str, job: Compilable) -> str:
    """Return the digest of a kernel for a target."""
    code = [module_code(module) for module in _modules(job.module)]
    parts = (triton.__version__, target, repr(job), *code)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def code_of(source: str) -> str:
    """Return a module's code without comments, docstrings and line numbers."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [each for each in node.body if not _is_text(each)]
    return ast.dump(tree)


@cache
def module_code(module: str) -> str:
    """Return the code of a module of this package."""
    return code_of(_source(module))


@cache
def _modules(module: str) -> tuple[str, ...]:
    """Return a module and all it imports from this package's kernels, directly or not, sorted."""
    found, todo = {module}, [module]
    while todo:
        for node in ast.walk(ast.parse(_source(todo.pop()))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = {node.module} | {f"{node.module}.{each.name}" for each in node.names}
                new = {n for n in names - found if n.startswith(_KERNELS) and _is_module(n)}
                found |= new
                todo += new
    return tuple(sorted(found))


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is a module, so this is a name in that module
        return False


def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
