"""Every field of the client's messages changes what comes back, or what the engine is asked.

Each field has an experiment: a script that is played once with each of some values of that field
alone. An answer that only repeats the settings does not count.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, ClassVar

import orjson
import pytest

from service.captions.glossaries import StoredGlossary
from service.captions.job import Outcome
from service.captions.session import Session
from service.errors import ProtocolError
from service.wire import protocol as p
from tests.service.captions.desk import MODEL, Desk
from tests.service.client import session
from tests.service.conftest import Run, Service
from tests.service.doors.test_app import eventually
from tests.service.fakes import ids
from tests.service.wire.fields import paths_of, without_values
from tokenspeed.text.glossary import Term
from tokenspeed.text.vocabulary import NAMES

KEY = "a-key-of-more-than-16"
ABSENT = object()
Frame = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """A script of frames, and the values for a field of the last frame of its type."""

    script: Sequence[Frame]
    values: Sequence[Any]


def setup(**settings: Any) -> Frame:
    wanted = {"source": {"language": "en"}, "targets": [{"language": "de"}], **settings}
    return {"type": "session.update", "session": wanted}


def update(rev: int, stable: str, unstable: str = "", segment: str = "a") -> Frame:
    return {
        "type": "source.update",
        "rev": rev,
        "stable": stable,
        "unstable": unstable,
        "segment_id": segment,
    }


def commit(text: str, segment: str = "a") -> Frame:
    return {"type": "source.commit", "segment_id": segment, "text": text}


def with_value(script: Sequence[Frame], path: str, value: Any) -> list[Frame]:
    """The script with a field set, or taken away, in the last frame of its type."""
    frames = deepcopy(list(script))
    kind = next(name for name in p.CLIENT_EVENTS if path.startswith(f"{name}."))
    inside: Any = [frame for frame in frames if frame["type"] == kind][-1]
    *parents, name = path.removeprefix(f"{kind}.").split(".")
    for parent in parents:
        inside = inside[parent.removesuffix("[]")]
        inside = inside[0] if parent.endswith("[]") else inside
    if value is ABSENT:
        inside.pop(name.removesuffix("[]"), None)
    else:
        inside[name.removesuffix("[]")] = [value] if name.endswith("[]") else value
    return frames


STORED = {
    key: StoredGlossary(key, "me", "mine", "en", "de", (Term("house", target),), 0.0)
    for key, target in (("one", "Samsung"), ("other", "Honda"))
}
COPIED = {*NAMES, "quietly"}


def play(script: Sequence[Frame]) -> list[Any]:
    """What a session does: its events but for repeated settings, and what the engine is asked."""
    d = Desk(model=replace(MODEL, stored=STORED.get))
    for frame in script:
        d.now += 0.3
        try:
            d.send(p.parse_client(orjson.dumps(frame)))
        except ProtocolError as exc:
            d.driver.refuse(exc)
        while d.jobs:
            job = next(iter(d.jobs.values()))
            said = ids(" ".join(w if w in COPIED else w.upper() for w in job.text.split()))
            timing = p.Timing(1, 1, 1, 1, 0, len(said))
            d.finish(job, Outcome(job.forced + said[len(job.forced) :], timing=timing))
    told = [event for event in d.events if not isinstance(event, p.SessionUpdated)]
    asked = [(j.text, j.source_language, j.target, j.context, j.formality) for _, j in d.started]
    return [*told, *asked]


def changes(path: str, experiment: Experiment) -> bool:
    """Whether any two values of the field make a difference."""
    outcomes = [play(with_value(experiment.script, path, v)) for v in experiment.values]
    return all(one != other for one, other in combinations(outcomes, 2))


WORDS = "the cable and Quid leave the house in the morning and come back".split()
SPEECH = [update(n, " ".join(WORDS[:n])) for n in range(1, len(WORDS) + 1)]
SPOKEN = [*SPEECH, commit(" ".join(WORDS))]
ENTRY = {"source": "cable", "target": "Kabel"}
TERMS = [setup(glossary=[ENTRY]), commit("the cable and the Cable")]
CUES = [setup(captions={}), commit(" ".join(WORDS))]
TWO = [update(1, "we go home", segment="a"), update(1, "it is late", segment="b")]
CLOSE: Frame = {"type": "session.close"}

EXPERIMENTS = {
    "session.update.session.source.language": Experiment([setup(), *SPOKEN], ["en", ABSENT]),
    "session.update.session.targets[].language": Experiment([setup(), *SPOKEN], ["de", "fr"]),
    "session.update.session.targets[].formality": Experiment(
        [setup(), *SPOKEN], ["formal", "informal", ABSENT]
    ),
    "session.update.session.targets[].glossary_id": Experiment(
        [setup(), *SPOKEN], ["one", "other", "none", ABSENT]
    ),
    "session.update.session.mode": Experiment([setup(), *SPOKEN], ["captions", "append_only"]),
    "session.update.session.stability": Experiment([setup(), *SPOKEN], ["low", "balanced", "high"]),
    "session.update.session.context": Experiment(
        [setup(), commit("we go home."), commit("it is late.", "b")], [0, 1]
    ),
    "session.update.session.glossary[].source": Experiment(TERMS, ["cable", "the"]),
    "session.update.session.glossary[].target": Experiment(TERMS, ["Kabel", "Leitung"]),
    "session.update.session.glossary[].case_sensitive": Experiment(TERMS, [True, False]),
    "session.update.session.glossary[].language": Experiment(TERMS, ["de", "fr"]),
    "session.update.session.do_not_translate[]": Experiment([setup(), *SPOKEN], ["Quid", "and"]),
    "session.update.session.capitals": Experiment(
        [setup(), commit("WE GO HOME QUIETLY")], ["keep", "sentence"]
    ),
    "session.update.session.profanity": Experiment(
        [setup(), commit("so ein arsch ist das")], ["raw", "mask"]
    ),
    "session.update.session.partials": Experiment([setup(), *SPOKEN], [True, False]),
    "session.update.session.timing": Experiment([setup(), *SPOKEN], [True, False]),
    "session.update.session.captions.max_chars": Experiment(CUES, [10, 30]),
    "session.update.session.captions.lines": Experiment(CUES, [1, 2]),
    # Who speaks in a room is told what he says, too: the room, that is.
    "session.update.session.room": Experiment([setup(), *SPOKEN], ["r", ABSENT]),
    # What it is for, readers see: tests/service/doors/test_rooms.py.
    "session.update.session.source_id": Experiment(
        [setup(), *SPOKEN], ["drawn-at-random-once", "short"]
    ),
    "source.update.speaker": Experiment([setup(), update(1, "we go home now")], ["Ann", ABSENT]),
    "source.append.speaker": Experiment(
        [setup(), {"type": "source.append", "text": "we go home now "}], ["Ann", ABSENT]
    ),
    "source.commit.speaker": Experiment([setup(), commit("we go")], ["Ann", ABSENT]),
    "source.update.rev": Experiment([setup(), update(3, "we go"), update(4, "we go home")], [4, 2]),
    "source.update.stable": Experiment([setup(), update(1, "we go home now")], ["it is", "late"]),
    "source.update.unstable": Experiment([setup(), update(1, "we go home")], ["", " now and rest"]),
    "source.update.segment_id": Experiment([setup(), update(1, "we go home now")], ["a", "b"]),
    "source.update.start_ms": Experiment([setup(), update(1, "we"), commit("we")], [5, ABSENT]),
    "source.update.end_ms": Experiment([setup(), update(1, "we"), commit("we")], [5, ABSENT]),
    "source.append.text": Experiment(
        [setup(), {"type": "source.append"}], ["we go home now ", "it is late now "]
    ),
    "source.append.segment_id": Experiment(
        [setup(), {"type": "source.append", "text": "we go home now "}], ["a", ABSENT]
    ),
    "source.commit.segment_id": Experiment([setup(), *TWO, commit("we go")], ["a", "b", ABSENT]),
    "source.commit.rev": Experiment([setup(), commit("we go"), update(5, "we go")], [5, 9]),
    "source.commit.text": Experiment([setup(), update(1, "we go"), commit("")], ["we", ABSENT]),
    "source.cancel.segment_id": Experiment([setup(), *TWO, {"type": "source.cancel"}], ["a", "b"]),
    "ping.id": Experiment([{"type": "ping"}], ["x", ABSENT]),
}

# A refusal tells which event it is about: a wrong field, or a session that is closing already.
REFUSED: dict[str, Sequence[Frame]] = {
    "ping": [{"type": "ping", "id": 5}],
    "session.resume": [
        {"type": "session.resume", "session_id": "", "resume_token": "", "last_seq": 0, "epoch": ""}
    ],
    "session.close": [setup(), CLOSE, CLOSE],
    "session.update": [CLOSE, setup()],
    "source.update": [setup(), CLOSE, update(1, "we")],
    "source.append": [setup(), CLOSE, {"type": "source.append", "text": "we"}],
    "source.commit": [setup(), CLOSE, commit("we")],
    "source.cancel": [setup(), CLOSE, {"type": "source.cancel"}],
    "source.flush": [setup(), CLOSE, {"type": "source.flush"}],
}
EXPERIMENTS |= {
    f"{name}.event_id": Experiment(script, ["x", ABSENT]) for name, script in REFUSED.items()
}

# Read by the connection: played over a real socket, below.
OVER_A_SOCKET = {
    "session.update.token",
    "session.resume.session_id",
    "session.resume.resume_token",
    "session.resume.last_seq",
    "session.resume.epoch",
}


@pytest.mark.parametrize("path", EXPERIMENTS)
def test_a_field_makes_a_difference(path: str) -> None:
    assert changes(path, EXPERIMENTS[path])


@pytest.mark.parametrize("name", sorted(p.CLIENT_EVENTS.keys() - {"session.resume"}))
def test_a_message_makes_a_difference(name: str) -> None:
    frames: dict[str, Frame] = {
        "session.update": setup(mode="append_only"),
        "source.update": update(1, "we go home"),
        "source.append": {"type": "source.append", "text": "we go home "},
        "ping": {"type": "ping"},
        "source.commit": commit("we go"),
        "source.cancel": {"type": "source.cancel"},
        "source.flush": {"type": "source.flush"},
        "session.close": CLOSE,
    }
    before = [setup(), {"type": "source.append", "text": "it is late "}]
    after = [{"type": "source.append", "text": "now and dark "}]
    assert play([*before, frames[name], *after]) != play([*before, *after])


@dataclass(frozen=True, slots=True)
class Planted(p.SourceUpdate):
    """An update with what nobody reads."""

    type: ClassVar[str] = "source.update"
    mood: str | None = None


def test_every_field_has_its_experiment() -> None:
    tried = EXPERIMENTS.keys() | OVER_A_SOCKET
    assert without_values(paths_of(p.CLIENT_EVENTS)) == tried
    planted = {**p.CLIENT_EVENTS, "source.update": Planted}
    assert without_values(paths_of(planted)) - tried == {"source.update.mood"}


def test_an_experiment_finds_a_field_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(p.CLIENT_EVENTS, "source.update", Planted)
    monkeypatch.setitem(Session._handlers, Planted, Session._handlers[p.SourceUpdate])
    experiment = Experiment([setup(), update(1, "we go home now")], ["glad", "sad"])
    assert not changes("source.update.mood", experiment)


# ---- what the connection reads ----


async def resumed(service: Service, **changed: Any) -> list[tuple[Any, ...]]:
    """What a client hears that lost its line and comes back, in a few words."""
    async with session(service.ws) as first:
        created = await first.receive()
        assert isinstance(created, p.SessionCreated)
        await first.start("de")
        await first.send(p.SourceCommit("a", text="we go home"))
        await first.until(p.TranslationFinal)
        first.socket.transport.abort()
        await eventually(lambda: not service.state.connections)
    info = created.session
    assert info.resume_token is not None
    event = p.SessionResume(info.id, info.resume_token, first.last_seq, info.epoch)
    heard = []
    async with session(service.ws) as second:
        await second.send(replace(event, **changed))
        await second.send(p.SessionClose())
        async for frame in second.socket:
            told = p.parse_server(frame)
            code = told.error.code if isinstance(told, p.Error) else None
            heard.append((told.type, told.seq, code))
    return heard


@pytest.mark.parametrize(
    ("name", "other"),
    [("session_id", "nobody"), ("resume_token", "wrong"), ("last_seq", 1), ("epoch", "earlier")],
)
async def test_a_field_of_a_resume_makes_a_difference(run: Run, name: str, other: Any) -> None:
    service = run()
    assert await resumed(service, **{name: other}) != await resumed(service)


@pytest.mark.parametrize(("token", "kind"), [(KEY, p.SessionCreated), ("wrong", p.Error)])
async def test_a_token_makes_a_difference(run: Run, token: str, kind: type[p.ServerEvent]) -> None:
    async with session(run(api_keys=(KEY,)).ws) as client:
        await client.send(p.SessionUpdate(p.SessionParams(), token=token))
        assert isinstance(await client.receive(), kind)
