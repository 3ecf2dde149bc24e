"""The programs of the page about voice pipelines, run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.conftest import Service, service

__all__ = ["service"]
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "voice.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"(?<!-->\n\n)```python\n(.*?)```", PAGE, re.DOTALL)  # others say why not
LAST_LINES = ("de GOOD MORNING.",)


@pytest.mark.parametrize(("program", "last"), list(zip(PROGRAMS, LAST_LINES, strict=True)))
def test_the_programs_say_what_they_should(program: str, last: str, service: Service) -> None:
    path = f"import sys; sys.path.insert(0, {str(ROOT / 'clients/python')!r})\n"
    script = path + program.replace("http://127.0.0.1:8000", service.http)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == last
