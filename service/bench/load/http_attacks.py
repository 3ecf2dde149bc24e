"""What one client can do to all others by how a request is written, and by what is dear to read.

Kinds, not single cases, as in attacks.py: bytes in the smallest pieces, messages that a pattern
reads again and again, words that are alike, figures. Only for one's own services.
"""

import random
import secrets
from typing import Any, Final

import orjson

from service.bench.load.attacks import Attack, Outcome
from service.bench.load.door_attacks import again, ask, opened_room

NUM_CHUNKS: Final = 40_000
_HEAD: Final = "GET /livez HTTP/1.1\r\nhost: localhost\r\n"


async def chunks(address: str, seconds: float) -> Outcome:
    """Bodies in chunks of one byte, heads of very many lines, a thousand requests in one go."""
    outcome = Outcome()
    body = b"1\r\n[\r\n" * NUM_CHUNKS + b"0\r\n\r\n"
    lines = "x:\r\n" * NUM_CHUNKS
    many = (_HEAD + "\r\n") * 1000

    async def send(number: int) -> None:
        if outcome.sent % 3 == 0:
            await ask(address, outcome, "/translate", body, "transfer-encoding: chunked\r\n")
        elif outcome.sent % 3 == 1:
            await ask(address, outcome, "/livez", head=lines)
        else:
            await ask(address, outcome, "/livez", head=f"connection: close\r\n\r\n{many}")

    await again(seconds, 4, send)
    return outcome


async def chats(address: str, seconds: float) -> Outcome:
    """Messages of spaces, marks and names of languages, conversations of thousands of messages."""
    outcome = Outcome()
    texts = (
        "a:" + " " * 19_000 + "b", "Translate to German: " + "#" * 18_000, "Hi" + "\n" * 19_000,
        "<a>" * 2700 + "</a>" * 2700, "#*" * 9000, "Translate to German:\n" + " " * 18_000 + "x =",
    )  # fmt: skip
    systems = ("to German, in <a> or # or ##", "German, " * 30_000, "from " * 800 + "German", ",")
    system = {"role": "system", "content": "into German"}
    bodies: list[dict[str, Any]] = [
        {"messages": [{"role": "system", "content": said}, {"role": "user", "content": text}]}
        for said in systems
        for text in texts
    ]
    bodies.append({"messages": [system] * 6000 + [{"role": "user", "content": "Hi"}]})
    bodies.append({"messages": [system, {"role": "user", "content": "We go. " * 2000}]})
    bodies[-1]["stop"] = "We go. " * 60 + "x"

    async def post(number: int) -> None:
        body = orjson.dumps(bodies[outcome.sent % len(bodies)])
        await ask(address, outcome, "/v1/chat/completions", body)

    await again(seconds, 4, post)
    return outcome


async def figures(address: str, seconds: float) -> Outcome:
    """Texts of numbers, prices and times, of lines in capitals, and of fifty lines each."""
    outcome = Outcome()
    texts = (
        "1 234 " * 3000, "$5, £6 and 7¥, " * 1300, "12:30 a.m., 5/11/2026, " * 800,
        "½ of 3.5 " * 2000,
        "A" * 9900 + "\n" + "A" * 9900, ("a " * 190 + "\n") * 50, "twenty-one hundred " * 1000,
    )  # fmt: skip

    async def post(number: int) -> None:
        text = texts[outcome.sent % len(texts)]
        body = orjson.dumps({"q": text, "source": "en", "target": "de"})
        await ask(address, outcome, "/translate", body)

    await again(seconds, 4, post)
    return outcome


async def alike(address: str, seconds: float) -> Outcome:
    """Glossaries whose terms have one beginning, another each time, with texts made of them."""
    outcome = Outcome()
    endings = ("", "s", "es", "ed", "ing", "e", "y", "ies", "ied", "d")

    async def post(number: int) -> None:
        rng = random.Random(outcome.sent)
        roots = ["con" + "".join(rng.choices("abcdefgh", k=4)) for _ in range(45)]
        words = [root + ending for root in roots for ending in endings]
        terms = words if outcome.sent % 2 else [f"con {word}" for word in words]
        text = " ".join(words)[:2500] if outcome.sent % 2 else "con " * 600
        wanted = {"q": text, "source": "en", "target": "de"}
        body = orjson.dumps(wanted | {"glossary": dict.fromkeys(terms, "Wort")})
        await ask(address, outcome, "/translate", body)

    await again(seconds, 4, post)
    return outcome


async def tongues(address: str, seconds: float) -> Outcome:
    """Languages that are none, each of 19,000 letters and another one."""
    outcome = Outcome()

    async def post(number: int) -> None:
        language = secrets.token_hex(4) + "x" * 19_000
        body = orjson.dumps({"q": "Good day", "source": language, "target": "de"})
        await ask(address, outcome, "/translate", body)

    await again(seconds, 8, post)
    return outcome


async def qr_codes(address: str, seconds: float) -> Outcome:
    """Pictures of a room's address, again and again, each for another port of this machine."""
    outcome = Outcome()
    room = await opened_room(address, outcome)

    async def get(number: int) -> None:
        path = f"/v1/rooms/{room['id']}/qr.svg"
        port = 1 + outcome.sent % 60_000
        await ask(address, outcome, path, host=f"localhost:{port}")

    await again(seconds, 4, get)
    return outcome


HTTP_ATTACKS: Final[dict[str, Attack]] = {
    attack.__name__: attack for attack in (chunks, chats, figures, alike, tongues, qr_codes)
}
