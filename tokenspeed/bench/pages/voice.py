"""Measure a voice pipeline: it hears English in real time, and speaks German.

    python -m tokenspeed.bench.pages.voice --json benchmarks/results/voice.json \\
        --page docs/voice.md --plot docs/pictures/voice.svg

espeak-ng speaks a paragraph, PocketSphinx listens, the service translates so that text only grows,
and espeak-ng speaks the translation as it comes. Everything runs on this machine; the synthesiser
reports when each word of the paragraph begins, so that delays are those of words, not of sentences.
"""

import argparse
import asyncio
import ctypes
import ctypes.util
import json
import socket
import sys
import threading
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from tokenspeed.bench.page import describe_machine, markdown_table, put_into_page
from tokenspeed.bench.report import bars
from tokenspeed.bench.result import describe_cpu, make_result, write_result
from tokenspeed_client import Session, connect
from tokenspeed_client.captioning.audio import Resampler
from tokenspeed_client.captioning.heard import Heard, Recogniser, agreed
from tokenspeed_client.captioning.recognisers import RATE, load
from tokenspeed_client.events import TranslationDelta, TranslationFinal

PARAGRAPH: Final = (
    "Good morning and welcome to the city.",
    "The train to the north leaves in ten minutes.",
    "Please wait for the people who are still on the way.",
    "We want to see the old church and the river.",
    "After that we go to the market and buy some bread.",
    "There is a good restaurant near the station.",
    "In the evening we come back to the hotel.",
    "Thank you very much for your time.",
)
PIECE_S: Final = 0.05  # of sound, given to the recogniser at once
PAUSE_S: Final = 1.0  # between sentences
BUDGET_MS: Final = 200
START_S: Final = 60.0  # for a service to load its model
NAME: Final = "voice.json"


# ---- who speaks ----


class Voice:
    """espeak-ng in this process; it has one voice at a time.

    Raises:
        OSError: the library is not installed.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1")
        self._sound = bytearray()
        self._starts_ms: list[int] = []
        self._first_s: float | None = None
        self._callback = _CALLBACK(self._take)  # kept alive: C has only its address
        self.rate: int = self._library.espeak_Initialize(2, 0, None, 0)  # 2: no device, no thread
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, text: str, voice: str, words_per_minute: int) -> tuple[bytes, list[int], float]:
        """Return sound, when each word begins in ms, and the seconds until there was any.

        The sound has 16-bit samples, `rate` a second.
        """
        self._sound.clear()
        self._starts_ms.clear()
        self._first_s = None
        self._library.espeak_SetVoiceByName(voice.encode())
        self._library.espeak_SetParameter(1, words_per_minute, 0)
        data = text.encode()
        began_s = time.monotonic()
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, 1, None, None)
        first_s = (self._first_s or time.monotonic()) - began_s
        return bytes(self._sound), list(self._starts_ms), first_s

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if count:
            if self._first_s is None:
                self._first_s = time.monotonic()
            self._sound += ctypes.string_at(samples, 2 * count)
        index = 0
        while events[index].type:
            if events[index].type == 1:  # a word
                self._starts_ms.append(events[index].audio_position)
            index += 1
        return 0


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass
class Sentence:
    """A sentence, and what became of it; seconds since the speaker began.

    Attributes:
        words: (begin, end) of each spoken word.
        hypotheses: when the recogniser had something new.
        appends: (when, ms since its update, ms of those that the service reports, text).
        spoken: when each append began to sound: its first sample existed and the previous append
            had ended.
        synthesis_ms: from each append to its first sample.
    """

    text: str
    words: list[tuple[float, float]]
    heard: str = ""
    hypotheses: list[float] = field(default_factory=list)
    appends: list[tuple[float, float, float, str]] = field(default_factory=list)
    spoken: list[float] = field(default_factory=list)
    synthesis_ms: list[float] = field(default_factory=list)


def speak(
    voice: Voice, paragraph: Sequence[str], pause_s: float = PAUSE_S
) -> tuple[bytes, list[Sentence]]:
    """Return the sound of a paragraph, at the recogniser's rate, and the times of its words."""
    sound, sentences = bytearray(2 * round(0.5 * RATE)), list[Sentence]()
    for text in paragraph:
        at_s = len(sound) / 2 / RATE
        said, starts_ms, _ = voice.say(text, "en-us+f2", 110)
        end_s = at_s + len(said) / 2 / voice.rate
        starts_s = [at_s + ms / 1000 for ms in starts_ms]
        sentences.append(Sentence(text, list(zip(starts_s, [*starts_s[1:], end_s], strict=True))))
        sound += Resampler(voice.rate, RATE, 1)(said) + bytes(2 * round(pause_s * RATE))
    return bytes(sound), sentences


# ---- the pipeline ----


class Run:
    """One run of the pipeline."""

    def __init__(self, voice: Voice, sentences: list[Sentence], session: Session) -> None:
        self.began_s = time.monotonic()
        self.sentences = sentences
        self._voice = voice
        self._session = session
        self._names: dict[str, Sentence] = {}  # by segment
        self._updated_s: dict[str, float] = {}
        self._speaking_until_s = 0.0

    def now_s(self) -> float:
        """Return the seconds since the speaker began."""
        return time.monotonic() - self.began_s

    def at(self, second: float) -> Sentence:
        """Return the last sentence that had begun by then."""
        begun = [each for each in self.sentences if each.words[0][0] <= second]
        return (begun or self.sentences)[-1 if begun else 0]

    async def hear(self, queue: "asyncio.Queue[tuple[float, Heard] | None]") -> None:
        """Pass on what is heard, as it is heard."""
        number, before = 0, ""
        while (found := await queue.get()) is not None:
            at_s, heard = found
            name = f"s{number}"
            if name not in self._names:
                # Found by when its sound began, according to the recogniser.
                start_s = (heard.start_ms or 0.0) / 1000
                self._names[name] = self.at(start_s + 0.5)
            sentence = self._names[name]
            sentence.hypotheses.append(at_s)
            self._updated_s[name] = self.now_s()
            if heard.is_final:
                sentence.heard = f"{sentence.heard} {heard.text}".strip()
                if heard.text:
                    await self._session.commit(heard.text, segment_id=name)
                else:
                    await self._session.cancel(name)
                number, before = number + 1, ""
            else:
                stable = agreed(before, heard.text)
                before = heard.text
                rest = heard.text[len(stable) :]
                await self._session.update(rest, stable=stable, segment_id=name)
        await self._session.close()

    async def follow(self) -> None:
        """Speak what is appended, and note when."""
        had: dict[str, str] = {}
        async for event in self._session:
            if isinstance(event, TranslationDelta):
                had[event.segment_id] = had.get(event.segment_id, "") + event.append
                text = event.append
            elif isinstance(event, TranslationFinal):
                text = event.text.removeprefix(had.get(event.segment_id, ""))
            else:
                continue
            if not text.strip():
                continue
            at_s, name = self.now_s(), event.segment_id.partition("~")[0]
            sentence = self._names[name]
            took_ms = event.timing.total_ms if event.timing else 0.0
            after_ms = 1000 * (at_s - self._updated_s[name])
            sentence.appends.append((at_s, after_ms, took_ms, text))
            sound, _, first_s = await asyncio.to_thread(self._voice.say, text, "de", 175)
            begin_s = max(at_s + first_s, self._speaking_until_s)
            sentence.synthesis_ms.append(1000 * first_s)
            sentence.spoken.append(begin_s)
            self._speaking_until_s = begin_s + len(sound) / 2 / self._voice.rate


def listen(
    recogniser: Recogniser,
    sound: bytes,
    began_s: float,
    put: Callable[[tuple[float, Heard] | None], object],
) -> None:
    """Give sound to the recogniser in real time, and put what it hears."""
    size = 2 * round(PIECE_S * RATE)
    for at in range(0, len(sound), size):
        piece = sound[at : at + size]
        spoken_s = (at + len(piece)) / 2 / RATE
        time.sleep(max(0.0, began_s + spoken_s - time.monotonic()))
        for heard in recogniser.accept(piece):
            put((time.monotonic() - began_s, heard))
    for heard in recogniser.finish():
        put((time.monotonic() - began_s, heard))
    put(None)


async def measure(url: str, paragraph: Sequence[str]) -> list[Sentence]:
    """Run the pipeline once, against a running service."""
    voice = Voice()
    sound, sentences = speak(voice, paragraph)
    recogniser = load("pocketsphinx")
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[float, Heard] | None] = asyncio.Queue()

    def put(found: tuple[float, Heard] | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, found)

    async with connect(
        url, source="en", targets=["de"], mode="append_only", min_update_interval_s=0.0
    ) as session:
        run = Run(voice, sentences, session)
        thread = threading.Thread(target=listen, args=(recogniser, sound, run.began_s, put))
        thread.start()
        await asyncio.gather(run.hear(queue), run.follow())
        thread.join()
    return sentences


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    """Run a service on a free port for as long as the context lasts; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tokenspeed", "serve", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        await _ready(url, process)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ready(url: str, process: Process) -> None:
    async with asyncio.timeout(START_S):
        while process.returncode is None:
            try:
                await asyncio.to_thread(lambda: urlopen(f"{url}/readyz", timeout=2).close())
                return
            except OSError:
                await asyncio.sleep(0.1)
    raise OSError("the service did not start")


# ---- what came of it ----


def stages(sentences: Sequence[Sentence]) -> dict[str, list[float]]:
    """Return delays in ms of each stage; a sentence that was not recognised has none."""
    found: dict[str, list[float]] = {name: [] for name in STAGES}
    for sentence in sentences:
        if not (sentence.hypotheses and sentence.appends and sentence.spoken):
            continue
        word_end_s = sentence.words[0][1]
        found["recognise"].append(1000 * (sentence.hypotheses[0] - word_end_s))
        found["wait for words"].append(
            1000 * (sentence.appends[0][0] - sentence.hypotheses[0]) - sentence.appends[0][1]
        )
        found["translate"] += [after_ms for _, after_ms, _, _ in sentence.appends]
        found["of that the service"] += [took_ms for _, _, took_ms, _ in sentence.appends]
        found["synthesise"] += sentence.synthesis_ms
        found["first word"].append(1000 * (sentence.spoken[0] - word_end_s))
        found["end"].append(1000 * (sentence.appends[-1][0] - sentence.words[-1][1]))
    return found


STAGES: Final = {
    "recognise": "the speaker's first word is over, to the first hypothesis",
    "wait for words": "first hypothesis, to the update whose answer has the first German word",
    "translate": "update sent, to its answer here",
    "of that the service": "as the service says: from the text's arrival to the answer",
    "synthesise": "German text here, to its first sample",
    "first word": "the speaker's first word is over, to the first German word as sound",
    "end": "the speaker's last word is over, to the last German text of the sentence",
}


def rows(sentences: Sequence[Sentence]) -> list[dict[str, Any]]:
    """Return a row for each stage, then one for each sentence."""
    found: list[dict[str, Any]] = []
    for name, values in stages(sentences).items():
        ordered = sorted(values)
        if ordered:
            found.append(
                {
                    "stage": name,
                    "count": len(ordered),
                    "p50_ms": round(_at(ordered, 0.5), 1),
                    "p95_ms": round(_at(ordered, 0.95), 1),
                    "max_ms": round(ordered[-1], 1),
                }
            )
    return found + [{"sentence": asdict(sentence)} for sentence in sentences]


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def page_part(result: dict[str, Any]) -> str:
    """Return the table and the sentences, for the page."""
    by_stage = {row["stage"]: row for row in result["rows"] if "stage" in row}
    table = markdown_table(
        "stage | from, to | p50 ms | p95 ms | most",
        "llrrr",
        [
            (name, STAGES[name], *(f"{row[key]:.1f}" for key in ("p50_ms", "p95_ms", "max_ms")))
            for name, row in by_stage.items()
        ],
    )
    told = by_stage["of that the service"]
    said = markdown_table(
        "said | heard | spoken in German",
        "lll",
        [
            (each["text"], each["heard"], "".join(text for *_, text in each["appends"]).strip())
            for each in (row["sentence"] for row in result["rows"] if "sentence" in row)
        ],
    )
    share = f"{100 * told['p50_ms'] / BUDGET_MS:.0f} % of the budget of {BUDGET_MS} ms"
    return (
        f"{result['date']}, {describe_machine(result['machine'])}, commit "
        f"{result['versions']['commit']}: `{result['command']}`\n\n{table}\n\n"
        f"The service takes {share} in the middle, {100 * told['p95_ms'] / BUDGET_MS:.0f} % at p95."
        f"\n\n![delay of each stage](pictures/voice.svg)\n\n{said}"
    )


def plot(result: dict[str, Any]) -> str:
    """Return the stages as bars."""
    values = [(row["stage"], max(0.0, row["p50_ms"])) for row in result["rows"] if "stage" in row]
    return bars("A voice pipeline: delay of each stage, median", "ms", values)


async def _measure(url: str | None, paragraph: Sequence[str]) -> list[Sentence]:
    if url is not None:
        return await measure(url, paragraph)
    async with served() as own:
        return await measure(own, paragraph)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or write the page from an existing result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", help="address of a running service (default: start one)")
    parser.add_argument("--sentences", type=int, default=len(PARAGRAPH))
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--page", type=Path, help="insert the tables into this page")
    parser.add_argument("--plot", type=Path, help="write the plot to this file")
    parser.add_argument("--from-json", type=Path, help="measure nothing: use this result")
    options = parser.parse_args(arguments)
    if options.from_json:
        result = json.loads(options.from_json.read_text(encoding="utf-8"))
    else:
        sentences = asyncio.run(_measure(options.url, PARAGRAPH[: options.sentences]))
        result = make_result(
            rows(sentences),
            machine=describe_cpu(),
            packages=("torch", "pocketsphinx", "websockets"),
            program="python -m tokenspeed.bench.pages.voice",
        )
    if options.json:
        write_result(result, options.json)
    if options.page:
        put_into_page(options.page, NAME, page_part(result))
    if options.plot:
        options.plot.write_text(plot(result), encoding="utf-8")
    print(page_part(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
