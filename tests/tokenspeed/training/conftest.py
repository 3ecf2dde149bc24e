"""A toy language pair: sentences from a small grammar, in both languages, word by word."""

import itertools
import lzma
from pathlib import Path

import pytest

SUBJECTS = {"the train": "der Zug", "the city": "die Stadt", "my sister": "meine Schwester"}
VERBS = {"is": "ist", "was": "war", "becomes": "wird"}
ADJECTIVES = {"small": "klein", "old": "alt", "quiet": "ruhig", "beautiful": "schön"}
ADVERBS = {"today": "heute", "again": "wieder", "there": "dort", "here": "hier"}


def toy_pairs() -> list[tuple[str, str]]:
    """Return all sentences of the grammar."""
    parts = itertools.product(SUBJECTS, VERBS, ADJECTIVES, ADVERBS)
    return [
        (
            f"{s} {v} {a} {b}.".capitalize(),
            f"{SUBJECTS[s]} {VERBS[v]} {ADVERBS[b]} {ADJECTIVES[a]}.",
        )
        for s, v, a, b in parts
    ]


@pytest.fixture(scope="session")
def toy_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the corpus': en-de.train.tsv.xz and en-de.valid.tsv."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = [f"{english}\t{german}\ttatoeba" for english, german in toy_pairs()]
    with lzma.open(folder / "en-de.train.tsv.xz", "wt", encoding="utf-8") as file:
        file.write("\n".join(lines[10:]) + "\n")
    (folder / "en-de.valid.tsv").write_text("\n".join(lines[:10]) + "\n", encoding="utf-8")
    return folder
