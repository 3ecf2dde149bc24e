"""A room: whatever readers miss, they end up with what was said."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from service.rooms import changes as c
from service.rooms.readers import Reader
from service.rooms.room import PREPARED, Room
from service.rooms.said import SOURCE, Said
from service.rooms.written import changed_for
from service.wire import protocol as p
from tokenspeed.text.steps import at_once

STATS = p.FinalStats(0, 0, 0.0, 0.0)


@dataclass
class View:
    """What a reader has on the screen: by segment, text and unstable text."""

    reader: Reader
    lines: dict[int, tuple[str, str]] = field(default_factory=dict)
    committed: dict[int, str] = field(default_factory=dict)
    last: int = 0

    def take(self, room: Room) -> None:
        for number, frame in room.take(self.reader):
            assert number >= self.last
            self.last = number
            self.show(p.parse_server(frame))

    def show(self, event: p.ServerEvent) -> None:
        if isinstance(event, p.RoomState):
            for segment in event.segments:
                number = int(segment.segment_id)
                if segment.is_retracted:  # withdrawn by who said it, not taken back by us
                    self.lines.pop(number, None)
                else:
                    self.put(number, segment.text, segment.unstable)
        elif isinstance(event, p.TranslationDelta):
            before = self.lines.get(int(event.segment_id), ("", ""))[0]
            self.put(int(event.segment_id), before + event.append, event.unstable)
        elif isinstance(event, p.TranslationFinal):
            self.put(int(event.segment_id), event.text, "")
        elif isinstance(event, p.TranslationRetracted):
            self.lines.pop(int(event.segment_id), None)

    def put(self, number: int, text: str, unstable: str) -> None:
        if self.reader.form == "append_only":
            assert not unstable
            assert text.startswith(self.committed.get(number, ""))
            self.committed[number] = text
        self.lines[number] = (text, unstable)


class Speaker:
    """A session: its audience, and what it has under way."""

    def __init__(self) -> None:
        self.audience: frozenset[str] = frozenset()
        self.open: dict[str, dict[str, tuple[str, str]]] = {}  # segment -> target -> text

    def set_audience(self, targets: frozenset[str]) -> None:
        self.audience = targets

    def tell(self, event: p.ServerEvent) -> None:
        raise AssertionError("nothing is wrong")


WORDS = st.text("ab ", max_size=4)
TARGETS = st.sampled_from(("de", "fr"))
FORMS = st.sampled_from(("captions", "append_only"))


class Rooms(RuleBasedStateMachine):
    """Two speakers, readers who come, lag, break off and come back."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Room("r", "Talk", 0.0, max_lag=3)
        self.speakers = {name: Speaker() for name in "xy"}
        for name, speaker in self.speakers.items():
            self.room.join(name, speaker)
        self.views: list[View] = []
        self.wakes = 0
        self.segments = 0
        self.shown: dict[tuple[str, str, str], tuple[str, str]] = {}

    def wake(self) -> None:
        self.wakes += 1

    @rule(language=TARGETS, form=FORMS, has_source=st.booleans())
    def comes(self, language: str, form: p.ReaderForm, has_source: bool) -> None:
        reader = Reader(language, form, has_source, self.wake)
        self.views.append(View(reader))
        self.room.read(reader)

    @rule(data=st.data())
    def goes_and_comes_back(self, data: st.DataObject) -> None:
        if not self.views:
            return
        view = data.draw(st.sampled_from(self.views))
        self.room.unread(view.reader)
        view.reader = Reader(
            view.reader.target, view.reader.form, False, self.wake, view.reader.seen
        )
        self.room.read(view.reader)

    @rule(data=st.data())
    def looks(self, data: st.DataObject) -> None:
        if self.views:
            self.check(data.draw(st.sampled_from(self.views)))

    @rule(name=st.sampled_from("xy"), text=WORDS)
    def says(self, name: str, text: str) -> None:
        self.segments += 1
        self.speakers[name].open[f"s{self.segments}"] = {}
        self.room.speak(name, p.SourceDelta(f"s{self.segments}", text, ""), 1.0)

    @rule(
        name=st.sampled_from("xy"),
        deltas=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4),
        data=st.data(),
    )
    def translates(self, name: str, deltas: list[tuple[str, str]], data: st.DataObject) -> None:
        speaker = self.speakers[name]
        if not speaker.open or not speaker.audience:
            return
        segment = data.draw(st.sampled_from(sorted(speaker.open)))
        target = data.draw(st.sampled_from(sorted(speaker.audience)))
        for append, unstable in deltas:
            before = speaker.open[segment].get(target, ("", ""))[0]
            speaker.open[segment][target] = (before + append, unstable)
            event = p.TranslationDelta(segment, target, 0, append, unstable)
            self.room.speak(name, event, 2.0)

    @rule(name=st.sampled_from("xy"), more=WORDS, data=st.data())
    def ends(self, name: str, more: str, data: st.DataObject) -> None:
        speaker = self.speakers[name]
        if not speaker.open:
            return
        segment = data.draw(st.sampled_from(sorted(speaker.open)))
        self.room.speak(name, p.SourceFinal(segment, "said"), 3.0)
        for target, (text, _) in speaker.open.pop(segment).items():
            final = p.TranslationFinal(segment, target, text + more, "said", STATS)
            self.room.speak(name, final, 3.0)

    @rule(name=st.sampled_from("xy"), data=st.data())
    def takes_back(self, name: str, data: st.DataObject) -> None:
        speaker = self.speakers[name]
        if not speaker.open:
            return
        segment = data.draw(st.sampled_from(sorted(speaker.open)))
        for target in speaker.open.pop(segment):
            self.room.speak(name, p.TranslationRetracted(segment, target), 3.0)

    @rule(name=st.text("ab", max_size=3))
    def is_renamed(self, name: str) -> None:
        self.room.rename(name)

    def teardown(self) -> None:
        for view in self.views:
            self.check(view)

    def check(self, view: View) -> None:
        """Who looks sees all, however long ago the last look was."""
        view.take(self.room)
        wanted = {
            said.number: (told.text, told.unstable if view.reader.form == "captions" else "")
            for said in self.room.segments.values()
            if (told := said.channels.get(view.reader.target)) and not told.is_retracted
        }
        shown = {n: line for n, line in view.lines.items() if line != ("", "")}
        assert shown == {n: line for n, line in wanted.items() if line != ("", "")}

    @invariant()
    def speakers_know_who_reads(self) -> None:
        read = {view.reader.target for view in self.views}
        assert all(speaker.audience == read for speaker in self.speakers.values())


TestRooms = Rooms.TestCase
TestRooms.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def told(room: Room, reader: Reader) -> list[p.ServerEvent]:
    return [p.parse_server(frame) for _, frame in room.take(reader)]


def a_room() -> tuple[Room, Speaker]:
    room, speaker = Room("r", "Talk", 10.0), Speaker()
    room.join("x", speaker)
    return room, speaker


def a_reader(room: Room, target: str, *, has_source: bool = False, last: int = 0) -> Reader:
    reader = Reader(target, "captions", has_source, lambda: None, last)
    room.read(reader)
    return reader


def test_a_frame_is_written_once_for_all() -> None:
    room, _ = a_room()
    first, second = a_reader(room, "de"), a_reader(room, "de")
    told(room, first), told(room, second)
    room.speak("x", p.SourceDelta("a", "hello", ""), 11.0)
    room.speak("x", p.TranslationDelta("a", "de", 1, "Hallo", ""), 11.5)
    [(_, one)], [(_, other)] = room.take(first), room.take(second)
    assert one is other
    event = p.parse_server(one)
    assert isinstance(event, p.TranslationDelta)
    assert (event.segment_id, event.append) == ("1", "Hallo")


def test_who_comes_from_a_replica_that_was_further_is_told_nothing_twice() -> None:
    (far, _), (near, _) = a_room(), a_room()
    for number in range(6):
        far.speak("x", p.SourceFinal(f"s{number}", "hello"), 1.0)
    ahead = a_reader(far, SOURCE)
    (last,) = [number for number, _ in far.take(ahead)]
    here = a_reader(near, SOURCE, last=last)
    resumed_from = [number for number, _ in near.take(here)]
    for number in range(8):
        near.speak("x", p.SourceFinal(f"s{number}", "hello"), 1.0)
        resumed_from += [number for number, _ in near.take(here)]
    assert resumed_from[0] == last
    assert resumed_from[1:] == [last + 1, last + 2]


def test_a_language_is_asked_for_while_somebody_reads_it_and_a_little_longer() -> None:
    room, speaker = a_room()
    assert speaker.audience == frozenset()
    first, second = a_reader(room, "de"), a_reader(room, "de")
    assert speaker.audience == {"de"}
    room.unread(first)
    assert speaker.audience == {"de"}
    room.unread(second, lingers=True)
    assert speaker.audience == {"de"}
    room.forget("de")
    assert speaker.audience == frozenset()


def test_the_source_stands_beside_its_translation_for_who_wants_it() -> None:
    room, _ = a_room()
    plain, both, source = a_reader(room, "de"), a_reader(room, "de", has_source=True), None
    source = a_reader(room, SOURCE)
    for reader in (plain, both, source):
        told(room, reader)
    room.speak("x", p.SourceDelta("a", "he", "llo", "Ann", "en"), 11.0)
    room.speak("x", p.SourceFinal("a", "hello", "Ann", "en"), 12.0)
    room.speak("x", p.TranslationFinal("a", "de", "Hallo", "hello", STATS), 12.5)
    assert [event.type for event in told(room, plain)] == ["translation.final"]
    assert [event.type for event in told(room, source)] == ["source.delta", "source.final"]
    events = told(room, both)
    assert [event.type for event in events] == [
        "source.delta",
        "source.final",
        "translation.final",
    ]
    final = events[-1]
    assert isinstance(final, p.TranslationFinal)
    assert (final.speaker, final.start_ms, final.end_ms) == ("Ann", 1000.0, 2000.0)
    late = a_reader(room, "de", has_source=True)
    (state,) = told(room, late)
    assert isinstance(state, p.RoomState)
    assert [(s.text, s.source, s.speaker) for s in state.segments] == [("Hallo", "hello", "Ann")]


def test_what_nobody_read_is_translated_later_and_only_once() -> None:
    room, speaker = a_room()
    room.speak("x", p.SourceFinal("a", "hello", None, "en"), 11.0)
    room.speak("x", p.SourceFinal("b", "  ", None, "en"), 11.0)
    reader = a_reader(room, "de")
    room.speak("x", p.SourceFinal("c", "now", None, "en"), 12.0)  # its own session translates it
    assert [said.number for said in at_once(room.untranslated("de"))] == [1]
    assert not at_once(room.untranslated("en"))  # it was said in English
    told(room, reader)
    room.translated(1, "de", "Hallo")
    room.translated(1, "de", "Hallo?")
    (final,) = told(room, reader)
    assert isinstance(final, p.TranslationFinal)
    assert final.text == "Hallo"
    room.leave("x", speaker)  # and leaves the last segment untranslated
    assert [said.number for said in at_once(room.untranslated("de"))] == [3]


def test_nothing_is_said_in_a_closed_room() -> None:
    room, _ = a_room()
    reader = a_reader(room, "de")
    room.close()
    room.speak("x", p.SourceFinal("a", "hello"), 11.0)
    (state,) = told(room, reader)
    assert isinstance(state, p.RoomState)
    assert state.room.is_closed
    assert not room.segments


@given(st.lists(st.sampled_from(["x", "y"]), max_size=30))
def test_segments_of_two_speakers_with_the_same_names_stay_apart(order: list[str]) -> None:
    room = Room("r", "", 0.0)
    said: Mapping[str, list[str]] = {"x": [], "y": []}
    for name in said:
        room.join(name, Speaker())
    for i, name in enumerate(order):
        room.speak(name, p.SourceFinal(f"auto-{len(said[name])}", f"{name}{i}"), 1.0)
        said[name].append(f"{name}{i}")
    texts = [each.source.text for each in room.segments.values()]
    assert texts == [f"{name}{i}" for i, name in enumerate(order)]


TEXT = "das ist die ganze Geschichte"
STEPS = st.lists(
    st.tuples(st.sampled_from(("more", "anew", "late", "comes")), st.integers(1, 9)), max_size=30
)


@given(STEPS, st.lists(FORMS, min_size=1, max_size=2))
def test_a_segment_that_is_said_again_in_a_later_session_is_the_same_one(
    steps: list[tuple[str, int]], forms: list[p.ReaderForm]
) -> None:
    room = Room("r", "", 0.0, max_lag=3)
    room.join("0", Speaker(), "who speaks")
    sessions, told_chars = ["0"], [0]
    views = [View(Reader("de", form, False, lambda: None)) for form in forms]
    for view in views:
        room.read(view.reader)
    room.speak("0", p.SourceDelta("a", "that is", ""), 1.0)
    for step, number in steps:
        if step == "anew":
            sessions.append(str(len(sessions)))
            told_chars.append(0)
            room.join(sessions[-1], Speaker(), "who speaks")
            room.speak(sessions[-1], p.SourceDelta("a", "that is", ""), 1.0)
        elif step == "comes":
            views.append(View(Reader("de", "captions", False, lambda: None)))
            room.read(views[-1].reader)
        else:  # the line of an earlier session may be dead without anybody knowing
            which = number % len(sessions) if step == "late" else -1
            begin, told_chars[which] = told_chars[which], min(told_chars[which] + number, len(TEXT))
            append, tail = TEXT[begin : told_chars[which]], TEXT[told_chars[which] :][:3]
            room.speak(sessions[which], p.SourceDelta("a", "that is", ""), 1.0)
            room.speak(sessions[which], p.TranslationDelta("a", "de", 1, append, tail), 1.0)
        for view in views:
            view.take(room)
            text, tail = view.lines.get(1, ("", ""))
            assert TEXT.startswith(text + tail)
    for session in sessions:
        room.speak(session, p.SourceFinal("a", "that is the whole story"), 2.0)
        room.speak(session, p.TranslationFinal("a", "de", TEXT, "that is", STATS), 2.0)
    for view in views:
        view.take(room)
        assert view.lines == {1: (TEXT, "")}
    assert len(room.segments) == 1


def test_what_the_server_named_is_the_sessions_own() -> None:
    room = Room("r", "", 0.0)
    for name in "xy":
        room.join(name, Speaker(), "who speaks")
        room.speak(name, p.SourceFinal("auto-1", name), 1.0)
    assert [said.source.text for said in room.segments.values()] == ["x", "y"]


def test_who_has_gone_on_in_another_place_takes_nobody_with_him() -> None:
    room, before = a_room()
    reader = a_reader(room, "de")
    told(room, reader)
    after = Speaker()
    room.join("x", after, generation=3)  # the same session: it was elsewhere, and came back
    assert not room.let_go("x", before)
    room.leave("x", before)
    assert room.has_speakers_here
    assert room.info().speakers == 1
    room.speak("x", p.SourceFinal("a", "hello", None, "en"), 11.0)
    room.speak("x", p.TranslationFinal("a", "de", "Hallo", "hello", STATS), 11.0)
    assert [e.text for e in told(room, reader) if isinstance(e, p.TranslationFinal)] == ["Hallo"]
    assert room.let_go("x", after)
    assert not room.has_speakers_here


def test_what_an_earlier_session_left_behind_is_lacked_at_once() -> None:
    lacked: list[str] = []
    room = Room("r", "", 0.0, on_lack=lambda room, target: lacked.append(target))
    before, after = Speaker(), Speaker()
    room.join("x", before, "who speaks")
    a_reader(room, "de")
    room.speak("x", p.SourceFinal("a", "hello", None, "en"), 1.0)
    assert not at_once(room.untranslated("de"))  # its session does it
    room.join("y", after, "who speaks")  # a page that was loaded anew
    assert lacked == ["de"]
    assert [said.number for said in at_once(room.untranslated("de"))] == [1]
    room.speak("y", p.SourceFinal("a", "hello", None, "en"), 2.0)  # which says it again
    assert not at_once(room.untranslated("de"))
    room.leave("x", before)
    assert not at_once(room.untranslated("de"))
    room.leave("y", after)
    assert [said.number for said in at_once(room.untranslated("de"))] == [1]


_NAMES = st.sampled_from(["a", "b", "c"])
_LANGUAGES = st.sampled_from(["de", "fr"])
_EVENTS = st.one_of(
    st.builds(p.SourceDelta, _NAMES, st.text("xy ", max_size=3), st.text("xy", max_size=2)),
    st.builds(
        p.SourceFinal, _NAMES, st.text("xy ", max_size=3), language=st.sampled_from(["de", "en"])
    ),
    st.builds(p.TranslationDelta, _NAMES, _LANGUAGES, st.just(1), st.text("xy", max_size=2)),
    st.builds(p.TranslationFinal, _NAMES, _LANGUAGES, st.text("xy"), st.just("x"), st.just(STATS)),
    st.builds(p.TranslationRetracted, _NAMES, _LANGUAGES),
)
_READERS = [
    ("de", "captions", False), ("de", "captions", True), ("de", "append_only", False),
    ("fr", "captions", True), (SOURCE, "captions", False),
]  # fmt: skip


@given(st.lists(_EVENTS | st.sampled_from(["x leaves", "x comes"]), max_size=10), st.integers(0, 9))
@settings(max_examples=150)
def test_what_is_kept_of_a_room_is_what_would_be_found_anew(acts: list[object], since: int) -> None:
    """Segments that were written once, and how far a language is complete."""
    room, speaker = a_room()
    a_reader(room, "de")
    for at_s, act in enumerate(acts, 12):
        if act == "x leaves":
            room.leave("x", speaker)
        elif act == "x comes":
            room.join("x", speaker)
        else:
            room.speak("x", act, at_s)  # type: ignore[arg-type]
        anew = Room("r", "", room.opened_s)
        head, segments = room.dump()
        anew.load(head, segments.items())
        for target, form, has_source in _READERS:
            reader = Reader(target, form, has_source, lambda: None)  # type: ignore[arg-type]
            reader.seen = since
            list(room.prepare(reader))
            found, wanted = room.state(reader, since), anew.state(reader, since)
            assert p.serialise(found) == p.serialise(room.state(reader, since))
            assert p.serialise(found) == p.serialise(replace(wanted, room=found.room))
        for language in ("de", "fr"):
            lacking = [said.number for said in at_once(room.untranslated(language))]
            assert lacking == [said.number for said in at_once(anew.untranslated(language))]


@given(
    st.lists(_EVENTS, max_size=30),
    st.sampled_from(_READERS),
    st.lists(st.integers(0, 3), max_size=20),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_who_comes_while_somebody_speaks_misses_nothing_and_gets_nothing_twice(
    acts: list[c.SpeakerEvent],
    who: tuple[str, p.ReaderForm, bool],
    said: list[int],
    last: int,
    early: int,
) -> None:
    """A newcomer is told a long room in slices, between which it goes on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.rooms.room.PREPARED", 1)
        patch.setattr("service.rooms.record.MAX_SEGMENTS", 4)
        room, _ = a_room()
        for at_s, act in enumerate(acts[:early], 12):
            room.speak("x", act, at_s)
        target, form, has_source = who
        since = min(last, room.newest)
        reader = Reader(target, form, has_source, lambda: None, since)
        room.read(reader)
        left = acts[early:]
        for (number, _), count in zip(enumerate(room.prepare(reader)), said, strict=False):
            for act in left[:count]:
                room.speak("x", act, 100 + number)
            del left[:count]
        list(room.prepare(reader))
        for act in left[:1]:
            room.speak("x", act, 200)
        other = Reader(target, form, has_source, lambda: None, since)
        [(number, frame)] = room.take(reader)
        [(_, wanted)] = room.take(other)
        assert (number, frame) == (room.newest, wanted)
        for act in left[1:]:
            room.speak("x", act, 300)
        view, late = View(reader), View(Reader(target, form, False, lambda: None))
        view.show(p.parse_server(frame))
        view.take(room)
        late.take(room)
        if not since and reader.channels == (target,) != (SOURCE,):  # views know translations
            kept = {number: line for number, line in view.lines.items() if number in room.segments}
            assert kept == late.lines


def test_a_newcomer_costs_as_much_of_a_turn_as_is_said_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room, _ = a_room()
    for number in range(2000):
        room.speak("x", p.SourceFinal(f"{number}", "hello"), 11.0)
        room.speak("x", p.TranslationFinal(f"{number}", "de", "Hallo", "hello", STATS), 11.0)
    looked = 0

    def counted(reader: Reader, said: Said) -> int:
        nonlocal looked
        looked += 1
        return changed_for(reader, said)

    monkeypatch.setattr("service.rooms.room.changed_for", counted)
    reader = a_reader(room, "de")
    slices = before = 0
    for _ in room.prepare(reader):
        assert looked - before <= PREPARED
        before = looked
        slices += 1
        room.speak("x", p.SourceFinal(f"more {slices}", "hello"), 12.0)
    before = looked
    [(_, frame)] = room.take(reader)
    assert looked - before <= slices
    state = p.parse_server(frame)
    assert isinstance(state, p.RoomState)
    assert [each.segment_id for each in state.segments] == [str(n) for n in range(1, 2001)]


@given(st.data())
def test_what_two_replicas_say_of_a_session_is_heard_once_in_order(data: st.DataObject) -> None:
    words = [f"w{number} " for number in range(1, data.draw(st.integers(1, 12)) + 1)]
    events: list[c.SpeakerEvent] = [p.SourceDelta("a", "text", "")]
    events += [p.TranslationDelta("a", "de", 1, word, "") for word in words]
    spoke: dict[str, list[c.Change]] = {}
    for origin in ("old", "new"):
        spoke[origin] = [
            c.Spoke("x", origin, "x", event, 0.0, number=number)
            for number, event in enumerate(events, start=1)
        ]
    # The old one had said so many when it was lost, and of so many that was known.
    num_said = data.draw(st.integers(0, len(words) + 1))
    num_known = data.draw(st.integers(0, num_said))
    late = spoke["old"][num_known:num_said]
    for _ in range(data.draw(st.integers(0, 2))):  # it was taken for gone, and says that it is not
        late.insert(data.draw(st.integers(0, len(late))), c.Joined("x", "old", "x", 1))
    anew: list[c.Change] = [c.Joined("x", "new", "x", 2), *spoke["new"][num_known:]]
    order = data.draw(st.permutations([late] * len(late) + [anew] * len(anew)))
    heard: list[int] = []
    room = Room("room", "", 0.0, origin="new", submit=lambda change: None)
    room.join("x", Speaker(), generation=2, on_heard=heard.append)
    room.apply(c.Joined("x", "old", "x", 1))
    for change in spoke["old"][:num_known]:
        room.apply(change)
    for sender in order:
        if data.draw(st.integers(0, 9)) == 0:  # a replica that comes late reads how it stands
            head, segments = room.dump()
            room.load(head, segments.items())
        room.apply(sender.pop(0))
    (said,) = room.segments.values()
    assert said.channels["de"].text == "".join(words)
    assert room.info().speakers == 1
    assert max(heard, default=num_known) == len(words) + 1 or num_known == len(words) + 1


def test_who_is_cut_off_after_a_notice_misses_nothing() -> None:
    room, _ = a_room()
    reader = Reader("de", "captions", has_source=False, wake=lambda: None)
    room.read(reader)
    notice = p.SessionNotice("room_cut_off", "the room is cut off")
    for is_new in (True, False):
        room.speak("x", p.SourceDelta(f"is new: {is_new}", "hello", ""), 1.0)
        room.speak("x", p.TranslationDelta(f"is new: {is_new}", "de", 1, "hallo", ""), 1.0)
        reader.notices.append(notice)
        frames = room.take(reader)
        assert len(frames) > 1
        for cut in range(1, len(frames) + 1):
            seen = frames[cut - 1][0]
            again = Reader("de", "captions", has_source=False, wake=lambda: None, last_seq=seen)
            again.is_new = False
            rest = [text for _, text in frames[cut:] if "session.notice" not in text]
            assert [text for _, text in room.take(again)] == rest


def test_a_picture_of_what_is_new_says_who_says_a_segment_now() -> None:
    room = Room("r", "", 0.0)
    room.join("x", Speaker(), "who speaks")
    room.speak("x", p.SourceFinal("a", "hello", None, "en"), 1.0)
    head, segments = room.dump()
    room.join("y", Speaker(), "who speaks")
    before = head["number"]
    room.speak("y", p.SourceFinal("a", "hello", None, "en"), 2.0)  # no news to anybody
    head, changed = room.dump(before)
    anew = Room("r", "", 0.0)
    anew.load(head, (segments | changed).items())
    final = p.TranslationFinal("a", "de", "hallo", "hello", STATS)
    for each in (room, anew):
        each.apply(c.Spoke("y", "", "who speaks", final, 3.0))
        assert each.segments[1].channels["de"].text == "hallo"
    assert room.newest == anew.newest
