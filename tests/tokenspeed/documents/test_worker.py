"""One file in a process of its own: the same as in this one, and within bounds."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from tokenspeed.documents import worker
from tokenspeed.documents.formats import open_document
from tokenspeed.documents.worker import Answer, Question, answer, ask, texts_of

FILES = {
    "a.txt": b"Good day.\n\nGood day.\n",
    "a.json": b'{"yes": "Yes", "no": "No", "again": "Yes", "n": 42}',
    "a.srt": b"1\n00:00:01,000 --> 00:00:02,000\n<i>Hello</i> there.\n",
    "a.html": b"<p>One <b>two</b></p><p title='Three'></p>",
    "a.md": b"# One\n\ntwo *three*\n",
    "a.po": b'msgid "One \xff"\nmsgstr ""\n\nmsgid "One \xfe"\nmsgstr ""\n',
    "broken.txt": b"One \xff two.\n",
}


def question(name: str, **more: object) -> Question:
    return Question(**{"name": name, "target": "de", "max_chars": 1000, "max_texts": 100, **more})  # type: ignore[arg-type]


def told(written: bytes) -> tuple[Answer, bytes]:
    """Return an answer as if it had taken no time."""
    found, rest = worker.told(written)
    assert found.cpu_s > 0
    return replace(found, cpu_s=0.0), rest


def in_a_process(asked: bytes) -> bytes:
    program = [sys.executable, "-m", "tokenspeed.documents.worker"]
    return subprocess.run(program, input=asked, stdout=subprocess.PIPE, check=False).stdout


@pytest.mark.parametrize("name", FILES)
def test_texts_go_out_and_translations_come_in(name: str) -> None:
    document = open_document(name, FILES[name], "de")
    texts = texts_of(document)
    assert len(set(texts)) == len(texts)
    found, written = told(answer(ask(question(name), FILES[name])))
    assert found == Answer()
    assert written.decode() == json.dumps(texts)
    shouted = [text.upper() for text in texts]
    found, written = told(answer(ask(question(name, translations=shouted), FILES[name])))
    assert found == Answer()
    same = open_document(name, FILES[name], "de")
    assert written == same.translated([text.upper() for text in same.texts])


@pytest.mark.parametrize(
    ("name", "data", "problem", "is_too_long"),
    [
        ("a.pdf", b"x", "files of this kind are not translated", False),
        ("a.json", b"{", "it is not JSON", False),
        ("a.txt", b"word " * 400, "the file has 1999 characters, at most 1000", True),
        ("a.json", b"[%s]" % b",".join(b'"a%d"' % n for n in range(101)), "101 texts, at m", True),
    ],
)
def test_what_cannot_be_read_is_told(
    name: str, data: bytes, problem: str, is_too_long: bool
) -> None:
    found, rest = told(answer(ask(question(name), data)))
    assert found.problem is not None
    assert problem in found.problem
    assert (found.is_too_long, rest) == (is_too_long, b"")


def test_a_text_that_comes_a_thousand_times_is_one() -> None:
    data = b"[%s]" % b",".join([b'"a"'] * 1000)
    found, rest = told(answer(ask(question("a.json", max_texts=1), data)))
    assert (found, rest) == (Answer(), b'["a"]')


def test_the_process_says_the_same_and_no_more_than_may_be_read() -> None:
    asked = ask(question("a.txt"), FILES["a.txt"])
    assert told(in_a_process(asked)) == told(answer(asked))
    with pytest.raises(ValueError, match="without an answer"):
        told(in_a_process(b"no question\n"))


def test_the_process_is_bounded_in_memory_and_time() -> None:
    program = (
        "import resource, sys\n"
        "from tokenspeed.documents import worker\n"
        "worker.answer = lambda asked: b'%d %d' % tuple(\n"
        "    resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_CPU, resource.RLIMIT_AS))\n"
        "sys.exit(worker.main())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
    )
    cpu_s, memory = map(int, ended.stdout.split())
    assert 0 < cpu_s <= 20
    assert memory == 2 << 30 or sys.platform != "linux"
