"""What one turn of the event loop costs, whatever a client sends: milliseconds of a processor.

A whole service runs over an engine without a model. Counted is the processor time of the event
loop's thread, against a limit that is longer where a fixed piece of work takes longer, so that
neither a slow machine nor other programs on it matter; and of several tries the best counts, as
caches of processors are shared.
"""

import asyncio
import gc
import itertools
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from service.cli import bind
from service.config import Config
from service.doors.server import Server
from service.doors.state import AppState
from service.load.limits import Limits
from service.load.stalls import Stalls
from service.rooms.hub import Rooms
from service.translator import Translator
from service.wire.protocol import (
    SUBPROTOCOL,
    FinalStats,
    ServerEvent,
    SourceFinal,
    TranslationFinal,
)
from tests.service.doors.test_http_slices import POST, in_chunks
from tests.service.fakes import FakeEngine, FakePrompts, FakeTokenizer
from tokenspeed.text.warm import warm

LIMIT_S: Final = 0.005  # of a processor, in one turn
ROUNDS: Final = 300_000  # of an empty loop take as long on a processor that is just fast enough
TRIES: Final = 8  # where one is enough, there is no other
PAUSE_S: Final = 0.2  # longer before each further try


@dataclass
class Watched:
    """A service whose turns are measured.

    Attributes:
        worst_s: most processor time of a turn since `reset`.
    """

    port: int
    rooms: Rooms
    worst_s: float = 0.0

    def tell(self, seconds: float, own_s: float) -> None:
        """Take note of a turn."""
        self.worst_s = max(self.worst_s, own_s)

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class ManyPrompts(FakePrompts):
    """The same in more languages, all from and to English."""

    more = ("da", "it", "nl", "pl", "pt", "sv")
    languages = (*FakePrompts.languages, *more)
    pairs = FakePrompts.pairs | {("en", each) for each in more} | {(each, "en") for each in more}

    def build(
        self, source: str, source_language: str | None, target_language: str, **more: Any
    ) -> tuple[int, ...]:
        known = target_language if target_language in FakePrompts.languages else "de"
        return super().build(source, source_language, known, **more)


@pytest.fixture(scope="module", name="watched")
def _watched() -> Iterator[Watched]:
    with serving(FakePrompts()) as watched:
        yield watched


@pytest.fixture(scope="module", name="watched_by_many")
def _watched_by_many() -> Iterator[Watched]:
    with serving(ManyPrompts()) as watched:
        yield watched


@contextmanager
def serving(prompts: FakePrompts) -> Iterator[Watched]:
    """Run a service whose turns are measured."""
    stalls, listener = Stalls(), bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    # Costs are what is tested here, not what is refused because of them.
    limits = Limits(work_share=1.0, request_share=64.0, requests_of_client=64)
    config = Config(port=port, limits=limits, max_sessions=120, admission=False)
    engine = FakeEngine(at_once=10_000)
    translator = Translator(engine, FakeTokenizer(), prompts, 4096, config.budget_ms / 1e3)
    warm(prompts.pairs)
    started = threading.Event()
    state = AppState(config, translator, "fake", engine)
    watched = Watched(port, state.rooms)
    server = Server(state, started.set)

    def serve() -> None:
        with asyncio.Runner(loop_factory=stalls.new_loop) as runner:
            runner.run(server.serve(sockets=[listener]))

    thread = threading.Thread(target=serve)
    thread.start()
    assert started.wait(10)
    stalls.tell = watched.tell
    gc.disable()  # it would look through all that pytest holds
    yield watched
    gc.enable()
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def slow_limit_s() -> float:
    """Return what a turn may cost on a slow processor: what the fixed piece of work takes."""
    began_s = time.thread_time()
    for _ in range(ROUNDS):
        pass
    return time.thread_time() - began_s


def check(watched: Watched, act: Any) -> None:
    """Check that an act costs no turn more than the limit, in the best of some tries."""
    found = []
    for _ in range(TRIES):
        watched.worst_s = 0.0
        act()
        if watched.worst_s < LIMIT_S:
            return
        found.append((watched.worst_s * 1e3, slow_limit_s() * 1e3))
        if found[-1][0] < found[-1][1]:
            return
        # What runs beside this test slows memory more than a loop, for a while: try it again later.
        time.sleep(PAUSE_S * len(found))
    pytest.fail(f"a turn takes {found} (ms, limit)")


# ---- texts ----

HALF_OF_FLAG, JOINER = "\U0001f1e9", "\u200d"
UNITS: Final = (
    "a", "A", "A ", "a a ", "You. ", "It is 5. ", "12 34 ", "1,234.5 ", "$5, £6 ", "1 234 ",
    "½ ", "twenty-one ", "a.m. ", "5:30 ", "05/11/2026 ", "XIV ", "<b>a</b> ", "<g1>", "</b>",
    "<", ">", "&amp;", "&eacute;", "{x} ", "{", "}", "[a](b) ", "[", "]", "(", "((a)) ", "*",
    "**a** ", "_a_ ", "`", "~~", "$x$ ", "\\N", "\\n", "\\", "/", "a/b ", "a.b ", "x@y.z ",
    "http://a.b ", "www.", "#a ", "@a ", "%s ", ":a: ", ":) ", "-", "- ", "--> ", "=", "= a ",
    "a+b ", "f(x) ", "'", '"', "“a” ", ".", "...", "?!", ";", ",", ", ", ":", "|", "§ 5 ", "°",
    "\u0301", "a\u0301", "\u200b", JOINER, HALF_OF_FLAG, HALF_OF_FLAG * 2 + " ", "👍", "👍🏽 ",
    "👨" + JOINER, "你", "你好。", "の", "กา", "ا ", "ё ", "\ud83d\ude00", "\xa0", "\t", "\n",
    "a\n", "A B\n", "A\n", "\r\n", "\u2028", "é", "ß", "ﬁ", "Ⅷ", "㎏", "𝐀", "so-so-so ",
    "b-b-but ", "no no no ", "sooooo ", "NOT ", "F*** ", "[music] ", "(laughs) ", "♪", ">> ",
    "Mr. ", "z.B. ", "No. 5 ", "iPhone ", "a_b ", "A320 ", "::", "0a:",
)  # fmt: skip


def hostile(units: tuple[str, ...] | list[str], chars: int) -> str:
    """Return a text of so many characters made of units."""
    text = "".join(units)
    return (text * (chars // len(text) + 1))[:chars]


def post(watched: Watched, path: str, **body: Any) -> int:
    data = json.dumps(body).encode()
    # A connection of its own each time. Nothing is encrypted: a client that would read all
    # certificate authorities takes 40 ms of a processor, more than what is measured.
    with httpx.Client(base_url=watched.http, trust_env=False, verify=False, timeout=60) as client:
        reply = client.post(path, content=data, headers={"content-type": "application/json"})
    assert reply.status_code < 500, reply.text
    assert reply.status_code != 429
    return reply.status_code


def translate(watched: Watched, text: str | list[str], **more: Any) -> None:
    post(watched, "/translate", q=text, source="en", target="de", **more)


def stream(watched: Watched) -> ClientConnection:
    """Connect a session."""
    uri = f"ws://127.0.0.1:{watched.port}/v1/stream"
    return connect(uri, subprotocols=[Subprotocol(SUBPROTOCOL)], proxy=None, max_size=None)


def speak(watched: Watched, text: str, **more: Any) -> None:
    """Say a text in a session, as it grows, and wait for its end."""
    with stream(watched) as line:
        session = {"source": {"language": "en"}, "targets": [{"language": "de"}], **more}
        line.send(json.dumps({"type": "session.update", "session": session}))
        for rev, length in enumerate((len(text) // 2, len(text)), start=1):
            said = {"stable": text[: length // 2], "unstable": text[length // 2 : length]}
            line.send(json.dumps({"type": "source.update", "segment_id": "a", "rev": rev, **said}))
        line.send(json.dumps({"type": "source.commit", "segment_id": "a"}))
        line.send(json.dumps({"type": "session.close"}))
        for _ in line:
            pass


@pytest.mark.parametrize("unit", UNITS, ids=ascii)
def test_no_text_over_http_holds_up_the_loop(watched: Watched, unit: str) -> None:
    check(watched, lambda: translate(watched, hostile([unit], 3000)))


@pytest.mark.parametrize("unit", UNITS, ids=ascii)
def test_no_text_of_a_session_holds_up_the_loop(watched: Watched, unit: str) -> None:
    # The first revision fits a segment, the second one does not.
    check(watched, lambda: speak(watched, hostile([unit], 3800)))


MIXED = st.lists(st.sampled_from(UNITS) | st.text(max_size=3), min_size=1, max_size=6)


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(MIXED)
@example(["Mr. ", "A320 ", "\u00b6\u00a8", "&amp;", "\U00074329"])
def test_no_mixture_holds_up_the_loop(watched: Watched, units: list[str]) -> None:
    text = hostile(units, 3000) if "".join(units) else "a"
    check(watched, lambda: translate(watched, text))
    check(watched, lambda: speak(watched, text[:2000]))


@pytest.mark.parametrize("unit", ["<b>a</b> ", "<a ", "&amp;", "<", "</a>", "<a b='", "a<br>", "a"])
def test_no_markup_holds_up_the_loop(watched: Watched, unit: str) -> None:
    check(watched, lambda: translate(watched, hostile([unit], 6000), format="html"))
    for kind in ("xml", "html"):
        wanted = {"text": [hostile([unit], 6000)], "target_lang": "DE", "tag_handling": kind}
        check(watched, lambda wanted=wanted: post(watched, "/v2/translate", **wanted))


def test_no_layout_holds_up_the_loop(watched: Watched) -> None:
    for line in ("a " * 200, "A" * 400, "A " * 200, "we go and " * 40, "a" * 400, " " * 400):
        check(watched, lambda line=line: translate(watched, f"{line}\n" * 48))


def test_no_list_of_texts_holds_up_the_loop(watched: Watched) -> None:
    for text in ("We go.", "", "👍", "Wir gehen nach Hause, und du?"):
        check(watched, lambda text=text: translate(watched, [text] * 250))
        wanted = {"text": [text or "?"] * 250, "target_lang": "DE"}  # in any language
        check(watched, lambda wanted=wanted: post(watched, "/v2/translate", **wanted))


def test_no_text_to_detect_holds_up_the_loop(watched: Watched) -> None:
    for unit in ("a", "Wir gehen. ", "你", HALF_OF_FLAG):
        check(watched, lambda unit=unit: post(watched, "/detect", q=hostile([unit], 20_000)))


# ---- chats ----


def chat(watched: Watched, *said: tuple[str, Any], **more: Any) -> int:
    messages = [{"role": role, "content": text} for role, text in said]
    return post(watched, "/v1/chat/completions", messages=messages, **more)


@pytest.mark.parametrize(
    "text",
    [
        "a:" + " " * 19_000 + "b", "Translate to German:\n" + " " * 15_000 + "x =",
        " " * 19_000 + "a",
        "Translate to German: " + "#" * 15_000, "Translate to German: x" + "\n" * 15_000 + "=",
        "<a>" * 2500 + "x" + "</a>" * 2500, "#" * 19_000, "#*" * 9000, "a" * 19_000, "你" * 4000,
        "Translate to German:" * 900,
    ],
    ids=lambda text: ascii(text[:25]),
)  # fmt: skip
def test_no_message_holds_up_the_loop(watched: Watched, text: str) -> None:
    check(watched, lambda: chat(watched, ("user", text)))
    check(watched, lambda: chat(watched, ("system", "to German, in <a> # ##"), ("user", text)))
    check(watched, lambda: chat(watched, ("system", text), ("user", "Hi")))


def test_no_instruction_holds_up_the_loop(watched: Watched) -> None:
    for unit in (
        ",",
        "German ",
        "German, ",
        "from ",
        "a ",
        "not ",
        "if ",
        "en to de ",
        "to  ",
        "en-",
    ):
        for filler in (unit * (3900 // len(unit)), unit * (100_000 // len(unit))):
            asked = f"Translate {filler} x German"
            check(watched, lambda asked=asked: chat(watched, ("system", asked), ("user", "Hi")))


def test_no_conversation_holds_up_the_loop(watched: Watched) -> None:
    system = ("system", "into German")
    parts = [{"type": "text", "text": "a"}] * 7000
    check(watched, lambda: chat(watched, system, ("user", parts)))
    check(watched, lambda: chat(watched, *[system] * 5000, ("user", "Hi")))
    check(watched, lambda: chat(watched, system, *[("user", "Hi there")] * 5000))
    text = "We go home. " * 1500
    for stop in ("x" * 400, "We go home. " * 30 + "x", ["a", "b", "c", "d"]):
        check(watched, lambda stop=stop: chat(watched, system, ("user", text), stop=stop))
    wishes = {"target": "de", **{f"{random.Random(i).random()}": None for i in range(9000)}}
    check(watched, lambda: chat(watched, ("user", "Hi"), translation=wishes))


# ---- glossaries ----


FRAME_BYTES: Final = 40_000  # of terms alone; with what is around them, a frame has room for it


def _terms(kind: str) -> list[str]:
    ends = ["", "s", "es", "ed", "ing", "e", "y", "ies", "ied", "d"]
    if kind == "endings":
        return [
            f"con{chr(97 + i // 26)}{chr(97 + i % 26)}t{end}" for i in range(48) for end in ends
        ]
    if kind == "same word":
        return [f"the {i}" for i in range(480)]
    if kind == "same beginning":
        return [f"con{i:05d}" for i in range(480)]
    if kind == "signs":
        return ["!" * (i % 95) + f"{i}" for i in range(480)]
    if kind == "two long words":
        return ["".join(random.Random(i).choices("abcdefgh ", k=98)).strip() for i in range(480)]
    if kind == "long accents":
        return ["á" * (i % 90) + f"{i}" for i in range(480)]
    if kind == "accents":
        return ["".join("aà"[i >> b & 1] for b in range(9)) for i in range(480)]
    if kind == "long":
        return [f"{'a ' * 45}{i}" for i in range(400)]
    if kind == "long pairs":
        return [f"w{i // 2} {'a ' * 40}{i}" for i in range(400)]
    return [f"{i} {random.Random(i).random()}"[:90] for i in range(480)]


@pytest.mark.parametrize(
    "kind",
    [
        "endings", "same word", "same beginning", "long", "long pairs", "signs", "two long words",
        "long accents", "accents", "any",
    ],
)  # fmt: skip
def test_no_glossary_holds_up_the_loop(watched: Watched, kind: str) -> None:
    terms = _terms(kind)
    while len(json.dumps(terms)) > FRAME_BYTES:
        terms.pop()
    glossary = [{"source": term, "target": f"{term[-9:]} x"} for term in terms]
    for text in (
        " ".join(terms)[:2000],
        "the " * 400,
        "a " * 900,
        "conaat " * 250,
        "aaaaaaaaa " * 90,
    ):
        check(watched, lambda text=text: translate(watched, text, glossary=glossary))
        check(watched, lambda text=text: speak(watched, text, glossary=glossary))
    check(watched, lambda: translate(watched, ["We go."] * 60, glossary=glossary))
    kept = {"do_not_translate": terms}
    check(watched, lambda: speak(watched, " ".join(terms)[:2000], **kept))


# ---- bodies, heads and addresses ----


def raw(watched: Watched, data: bytes) -> None:
    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", watched.port)
        try:
            writer.write(data)
            await reader.read()
        except ConnectionError:
            pass  # it is refused while this still writes
        finally:
            writer.close()

    asyncio.run(ask())


CLOSE = b"connection: close\r\nhost: localhost\r\n"
MULTIPART = b"POST /translate HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; "
PART = b'--q\r\ncontent-disposition: form-data; name="q%d"\r\n\r\n1\r\n'


def _multipart(body: bytes, more: bytes = b"boundary=q") -> bytes:
    length = b"\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    return MULTIPART + more + length + body


def _json(body: bytes) -> bytes:
    return POST + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body


REQUESTS: Final = {
    "headers": b"GET /livez HTTP/1.1\r\n" + CLOSE + b"x:\r\n" * 60_000 + b"\r\n",
    "some headers": b"GET /livez HTTP/1.1\r\n" + CLOSE + b"x:\r\n" * 120 + b"\r\n",
    "chunks": POST + CLOSE + b"transfer-encoding: chunked\r\n\r\n" + in_chunks(b"[" * 60_000, 1),
    "requests": b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n" * 1000
    + b"GET /livez HTTP/1.1\r\n" + CLOSE + b"\r\n",
    "parameters": b"GET /v2/languages?" + b"a&" * 7900 + b" HTTP/1.1\r\n" + CLOSE + b"\r\n",
    "protocols": b"GET /v1/stream HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n"
    b"connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: "
    b"dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: " + b"a," * 7000 + b"a\r\n\r\n",
    "parts": _multipart(b"".join(PART % i for i in range(900)) + b"--q--\r\n"),
    "marks of parts": _multipart(PART % 1 + b"\r\n-" * 60_000 + b"--q--\r\n"),
    "a slow charset": _multipart(
        PART % 1 + b"a" * 60_000 + b"-" + b"b" * 60_000 + b"\r\n--q--\r\n",
        b"charset=punycode; boundary=q",
    ),
    "numbers": _json(b"[" + b"1," * 29_000 + b"1]"),
    "strings": _json(b'{"q":[' + b'"a",' * 29_000 + b'"a"]}'),
    "objects": _json(b'{"q":[' + b'{"a":1},' * 9_900 + b"1]}"),
    "keys": _json(b"{" + b",".join(b'"%d":1' % i for i in range(15_000)) + b"}"),
    "too many keys": _json(b"{" + b",".join(b'"%d":1' % i for i in range(25_000)) + b"}"),
    "objects of objects": _json(
        b'{"q":[' + b",".join(b'{"%d":{}}' % i for i in range(7_400)) + b"]}"
    ),
    "tags": _json(json.dumps({"splitting_tags": "," * 100_000, "text": ["a"]}).encode()).replace(
        b"/translate", b"/v2/translate"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_no_request_holds_up_the_loop(watched: Watched, name: str) -> None:
    check(watched, lambda: raw(watched, REQUESTS[name]))


ENTRIES: Final = [{"source": f"{i}", "target": "a", "language": "de"} for i in range(1000)]


def test_no_frame_holds_up_the_loop(watched: Watched) -> None:
    for frame in (
        "[" * 60_000,
        json.dumps({"type": [[]] * 15_000}),
        json.dumps({"type": "ping", **{str(i): [] for i in range(5000)}}),
        json.dumps({"type": "session.update", "session": {"glossary": [{}] * 15_000}}),
        json.dumps({"type": "session.update", "session": {"targets": [{"language": "de"}] * 1500}}),
        json.dumps({"type": "session.update", "session": {"do_not_translate": ["a"] * 12_000}}),
        json.dumps({"type": "session.update", "session": {"glossary": ENTRIES}}),
        json.dumps({"type": "source.commit", "session": dict.fromkeys(map(str, range(5000)), {})}),
        json.dumps({"type": "session.update", "session": dict.fromkeys(map(str, range(5500)), 0)}),
        '{"type":"source.append","text":"a","x":[' + "{}," * 21_000 + "1]}",
        '{"type":"source.append","text":"a","x":[' + '"",' * 21_000 + "1]}",
        '{"type":"source.append","text":"' + "\\u0301" * 10_000 + '"}',
        '{"type":"source.update","rev":1,"stable":"' + "\\n" * 30_000 + '"}',
    ):

        def act(frame: str = frame) -> None:
            with stream(watched) as line:
                line.send(frame)
                line.send(json.dumps({"type": "session.close"}))
                for _ in line:
                    pass

        check(watched, act)


# ---- many at a time, and long ones ----


def many(count: int, act: Callable[[int], None]) -> None:
    """Let so many clients act at the same time."""
    threads = [threading.Thread(target=act, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("unit", ["<b>a</b> ", "You. ", "\\n", "We go home, and you? "])
def test_no_number_of_sessions_holds_up_the_loop(watched: Watched, unit: str) -> None:
    text = hostile([unit], 1000)
    check(watched, lambda: many(8, lambda _: speak(watched, text)))


@pytest.mark.parametrize("unit", ["<b>a</b> ", "We go home, and you? "])
def test_no_number_of_languages_holds_up_the_loop(watched_by_many: Watched, unit: str) -> None:
    targets = [{"language": target} for target in ("de", "es", "fr", *ManyPrompts.more)][:8]
    text = hostile([unit], 1000)
    check(watched_by_many, lambda: speak(watched_by_many, text, targets=targets))


SPEECH: Final = {"source": {"language": "en"}, "targets": [{"language": "de"}]}


def open_session(watched: Watched, lines: ExitStack) -> tuple[ClientConnection, dict[str, Any]]:
    """Return a connection with a session that translates, and what it is told of itself."""
    line = lines.enter_context(stream(watched))
    line.send(json.dumps({"type": "session.update", "session": SPEECH}))
    created: dict[str, Any] = json.loads(line.recv(timeout=20))["session"]
    return line, created


def leave(line: ClientConnection) -> None:
    """Be gone, without a word."""
    line.socket.shutdown(socket.SHUT_RDWR)


def test_no_number_of_clients_that_come_at_once_holds_up_the_loop(watched: Watched) -> None:
    def come() -> None:
        with ExitStack() as lines:
            for _ in range(200):
                line = lines.enter_context(socket.socket())
                line.setblocking(False)
                line.connect_ex(("127.0.0.1", watched.port))
            translate(watched, "We go.")
        translate(watched, "We go.")

    check(watched, come)


@pytest.mark.parametrize("num_segments", [40, 510], ids=["all frames", "finals alone"])
def test_no_long_session_that_is_resumed_holds_up_the_loop(
    watched: Watched, num_segments: int
) -> None:
    # What it weighs counts here, not its sentences, each of which is translated by itself.
    text = ("We go home with you " * 10 + ". ") * 2
    with ExitStack() as lines:
        line, created = open_session(watched, lines)
        for number in range(num_segments):
            said = {"segment_id": f"{number}", "text": text}
            line.send(json.dumps({"type": "source.commit", **said}))
            hear_finals(line, 1)

        def resume() -> None:
            nonlocal line
            leave(line)
            line = lines.enter_context(stream(watched))
            wanted = {"session_id": created["id"], "resume_token": created["resume_token"]}
            wanted |= {"type": "session.resume", "last_seq": 2, "epoch": created["epoch"]}
            line.send(json.dumps(wanted))
            while "session.resumed" not in str(line.recv(timeout=20)):
                pass
            hear_finals(line, min(num_segments, 500))

        check(watched, resume)


def hear_finals(line: ClientConnection, count: int) -> None:
    while count:
        count -= "translation.final" in str(line.recv(timeout=20))


def test_no_number_of_clients_that_leave_at_once_holds_up_the_loop(watched: Watched) -> None:
    def come_and_go() -> None:
        with ExitStack() as open_lines:
            lines = [open_session(watched, open_lines)[0] for _ in range(100)]
            for line in lines:
                said = {"rev": 1, "stable": "We go home. We", "unstable": " rest"}
                line.send(json.dumps({"type": "source.update", **said}))
                while "WE GO HOME" not in str(line.recv(timeout=20)):
                    pass
            watched.worst_s = 0.0
            for line in lines:
                leave(line)
        translate(watched, "We go.")

    check(watched, come_and_go)


# ---- rooms ----

LONG: Final = 10_000  # segments, as many as a room keeps


@pytest.fixture(scope="module", name="long_room")
def _long_room(watched: Watched) -> str:
    with httpx.Client(base_url=watched.http, trust_env=False) as client:
        room_id = client.post("/v1/rooms", json={"name": "long"}).json()["id"]
    room = asyncio.run(watched.rooms.room(room_id))
    room.join("x", FakeSpeaker())
    stats = FinalStats(0, 0, 0.0, 0.0)
    for i in range(LONG):
        room.speak("x", SourceFinal(f"{i}", "We go home, and you?"), 1.0)
        room.speak("x", TranslationFinal(f"{i}", "de", "Wir gehen, du?", "", stats), 1.0)
    return room_id


class FakeSpeaker:
    """A session that nobody hears of its readers."""

    def set_audience(self, targets: frozenset[str]) -> None:
        """Ignore who reads."""

    def tell(self, event: ServerEvent) -> None:
        """Ignore it."""


@pytest.mark.parametrize("query", ["target=de", "target=de&source=1", "target=source"])
def test_no_newcomer_to_a_long_room_holds_up_the_loop(
    watched: Watched, long_room: str, query: str
) -> None:
    def listen() -> None:
        uri = f"ws://127.0.0.1:{watched.port}/v1/rooms/{long_room}/listen?{query}"
        with connect(uri, proxy=None, max_size=None) as line:
            state = json.loads(line.recv(timeout=20))
            assert len(state["segments"]) == LONG

    def follow() -> None:
        path = f"/v1/rooms/{long_room}/events?{query}"
        with (
            httpx.Client(base_url=watched.http, trust_env=False, timeout=20) as client,
            client.stream("GET", path) as reply,
        ):
            lines = reply.iter_lines()
            data = next(line for line in lines if line.startswith("data:"))
            assert data.count("segment_id") == LONG

    check(watched, listen)
    check(watched, follow)


def test_no_crowd_of_newcomers_to_a_long_room_holds_up_the_loop(
    watched: Watched, long_room: str
) -> None:
    uri = f"ws://127.0.0.1:{watched.port}/v1/rooms/{long_room}/listen?target=de"

    def listen(_: int) -> None:
        with connect(uri, proxy=None, max_size=None) as line:
            line.recv(timeout=60)

    check(watched, lambda: many(20, listen))


@pytest.mark.parametrize("form", ["srt", "vtt", "txt", "json"])
def test_no_transcript_of_a_long_room_holds_up_the_loop(
    watched: Watched, long_room: str, form: str
) -> None:
    widths = itertools.count(30)  # each is another transcript

    def export() -> None:
        path = f"/v1/rooms/{long_room}/transcript.{form}?target=de&max_chars={next(widths)}"
        with httpx.Client(base_url=watched.http, trust_env=False, timeout=60) as client:
            assert client.get(path).status_code == 200

    check(watched, export)


def test_no_language_that_a_long_room_lacks_holds_up_the_loop(
    watched: Watched, long_room: str
) -> None:
    def listen() -> None:
        uri = f"ws://127.0.0.1:{watched.port}/v1/rooms/{long_room}/listen?target=es"
        with connect(uri, proxy=None, max_size=None) as line:
            for _ in range(50):
                line.recv(timeout=20)

    check(watched, listen)


@pytest.mark.parametrize("kind", ["same beginning", "accents", "any"])
def test_no_reader_of_a_language_with_a_glossary_holds_up_the_loop(
    watched: Watched, kind: str
) -> None:
    glossary = [{"source": term, "target": "x", "language": "fr"} for term in _terms(kind)]
    while len(json.dumps(glossary)) > FRAME_BYTES:
        glossary.pop()

    def read() -> None:
        with httpx.Client(base_url=watched.http, trust_env=False) as client:
            room = client.post("/v1/rooms", json={"name": "a"}).json()
        session = SPEECH | {"room": room["id"], "glossary": glossary}
        update = {"type": "session.update", "session": session, "token": room["host_token"]}
        uri = f"ws://127.0.0.1:{watched.port}/v1/rooms/{room['id']}/listen?target=fr"
        with stream(watched) as line:
            line.send(json.dumps(update))
            while "session.updated" not in str(line.recv(timeout=20)):
                pass
            with connect(uri, proxy=None) as reader:
                reader.recv(timeout=20)
                said = {"segment_id": "a", "text": "We go home."}
                line.send(json.dumps({"type": "source.commit", **said}))
                hear_finals(reader, 1)

    check(watched, read)
