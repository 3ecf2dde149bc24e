"""A folder of test sets."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two lines in two languages that differ in case alone, so that copying is translating."""
    folder = tmp_path_factory.mktemp("sets")
    lines = "The train leaves at noon today.\tthe train leaves at noon today.\n" * 2
    (folder / "trains.en-de.tsv").write_text(lines, encoding="utf-8")
    return folder
