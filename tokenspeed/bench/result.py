"""A result file: one JSON object that says what was measured, where, when and by which command."""

import datetime
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tokenspeed
from tokenspeed.backends.cpu import usable_cores

Row = dict[str, Any]


def make_result(rows: Sequence[Row], *, machine: dict[str, Any], packages: Sequence[str]) -> Row:
    """Wrap measured rows with what makes them repeatable."""
    return {
        "machine": machine,
        "versions": {
            "tokenspeed": tokenspeed.__version__,
            "commit": _commit(),
            "python": platform.python_version(),
            **{name: found for name in packages if (found := _version(name))},
        },
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": shlex.join(["tokenspeed", *sys.argv[1:]]),
        "rows": list(rows),
    }


def write_result(result: Row, path: Path) -> None:
    """Write a result file, readable by people too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def put_into_page(page: Path, name: str, text: str) -> None:
    """Replace what a page has between the marks of a result file.

    Args:
        name: of the result file; the marks are `<!-- NAME -->` and `<!-- end NAME -->`.
    Raises:
        ValueError: the page has no such marks.
        OSError: the page cannot be read or written.
    """
    before = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    head, found_begin, rest = before.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"{page} has no {begin} ... {end}")
    page.write_text(f"{head}{begin}\n\n{text.strip()}\n\n{end}{tail}", encoding="utf-8")


def describe_cpu() -> dict[str, Any]:
    """Return the processor's name, its usable cores and what it can do."""
    fields = _cpuinfo()
    flags = fields.get("flags", fields.get("Features", "")).split()
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")
    return {
        "cpu": fields.get("model name", platform.processor() or platform.machine()),
        "cores": usable_cores(),
        "flags": [flag for flag in wanted if flag in flags],
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpuinfo() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
