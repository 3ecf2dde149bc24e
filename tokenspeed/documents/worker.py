"""One file in a process of its own: `python -m tokenspeed.documents.worker`.

A file of 2 MB can make half a million objects and take seconds: in a process that also serves
speakers, the GIL and the garbage collector would delay them meanwhile. So a server gives a file to
this process, gets its texts, and later gives it again with their translations. Nothing is kept
between the two; the process ends with its answer, or when it exceeds its limits.

The question, on stdin, is a line of JSON followed by the file's bytes; the answer, on stdout, is a
line of JSON followed by what was asked for: the texts in JSON, or the bytes of the translated file.
Knows formats; does not know who asks.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from tokenspeed.documents.document import Document, readable
from tokenspeed.documents.formats import open_document
from tokenspeed.errors import DocumentError

MAX_CPU_S: Final = 20  # of processor time
MAX_MEMORY_BYTES: Final = 2 * 1024 * 1024 * 1024  # of address space: 16 MiB of XML take 300 MB
NICENESS: Final = 10  # speakers come first


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a file.

    Attributes:
        name: of the file; its suffix gives the format.
        target: code of the language to translate into.
        max_chars: of all its texts together. max_texts: how many different texts it may have.
        translations: of the texts in `texts_of`; None asks for those texts.
    """

    name: str
    target: str
    max_chars: int
    max_texts: int
    translations: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The first line of an answer.

    Attributes:
        problem: what to tell the file's owner; None: all went well, and the result follows.
        is_too_long: whether the file has more text than allowed.
        cpu_s: processor time that the process took.
    """

    problem: str | None = None
    is_too_long: bool = False
    cpu_s: float = 0.0


def ask(question: Question, data: bytes) -> bytes:
    """Return a question as it is written to the process."""
    return json.dumps(asdict(question)).encode() + b"\n" + data


def told(answer: bytes) -> tuple[Answer, bytes]:
    """Return what a process wrote.

    Raises:
        ValueError: there is no answer, as the process ended before it had one.
    """
    line, found, rest = answer.partition(b"\n")
    if not found:
        raise ValueError("the process ended without an answer")
    return Answer(**json.loads(line)), rest


def texts_of(document: Document) -> list[str]:
    """Return the different texts of a document, in the order in which they first occur."""
    return list(dict.fromkeys(map(readable, document.texts)))


def answer(asked: bytes) -> bytes:
    """Return the answer to a question."""
    line, _, data = asked.partition(b"\n")
    question = Question(**json.loads(line))
    try:
        found = _found(question, data)
        return _line(Answer()) + found
    except _TooLong as exc:
        return _line(Answer(str(exc), is_too_long=True))
    except DocumentError as exc:
        return _line(Answer(str(exc)))
    except (MemoryError, RecursionError):
        return _line(Answer(f"{question.name}: it takes too much memory"))


class _TooLong(ValueError):
    """The file has more text than allowed."""


def _found(question: Question, data: bytes) -> bytes:
    document = open_document(question.name, data, question.target)
    texts = texts_of(document)
    if question.translations is not None:
        found = dict(zip(texts, question.translations, strict=True))
        return document.translated([found[readable(text)] for text in document.texts])
    for what, count, most in (
        ("characters", sum(map(len, document.texts)), question.max_chars),
        ("texts", len(texts), question.max_texts),
    ):
        if count > most:
            raise _TooLong(f"the file has {count} {what}, at most {most}")
    return json.dumps(texts).encode()


def _line(found: Answer) -> bytes:
    return json.dumps(asdict(found) | {"cpu_s": time.process_time()}).encode() + b"\n"


def _limit(kind: int, most: int) -> None:
    """Limit what this process may take, within the limits that it has already."""
    _, hard = resource.getrlimit(kind)
    soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (soft, hard))


def main() -> int:
    """Answer one question, within limits."""
    os.nice(NICENESS)
    _limit(resource.RLIMIT_CPU, MAX_CPU_S)
    if sys.platform == "linux":  # macOS refuses it
        _limit(resource.RLIMIT_AS, MAX_MEMORY_BYTES)
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
