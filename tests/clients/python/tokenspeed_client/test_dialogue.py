"""The decisions of a session, without a network: time and luck are the test's."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clients.python.tokenspeed_client.model import ModelServer, translate
from tokenspeed_client import events as e
from tokenspeed_client.captions import EMPTY, Captions, apply_event
from tokenspeed_client.dialogue import ConnectionChanged, Dialogue, RoundTrip, Settings
from tokenspeed_client.pending import SourceText
from tokenspeed_client.wire import Received, UnknownEvent

INFO = e.SessionInfo("a", "1", e.LimitsInfo(1, 1, 1, 1.0), "m", (), "token of a")


def refusal(code: e.ErrorCode, retryable: bool = False, event_id: str | None = None) -> e.Error:
    return e.Error(e.ErrorInfo("limit", code, code, None, event_id, retryable))


def new(targets: Sequence[str] = ("de",), may_ask_again: bool = False) -> Dialogue:
    settings = Settings("en", tuple(targets))
    return Dialogue(settings, may_ask_again=may_ask_again, draw=lambda: 0.5)


def open_(dialogue: Dialogue, now_s: float = 0.0) -> list[e.ClientEvent]:
    """Have a session greeted, or gone on with; return what is said after that."""
    dialogue.dialling()
    dialogue.connected(now_s)
    dialogue.messages(now_s)
    is_older = dialogue.is_resuming
    dialogue.received(e.SessionCreated(INFO, seq=1), now_s)
    if is_older:
        dialogue.received(e.SessionResumed(True, 2, seq=1), now_s)
    return list(dialogue.messages(now_s))


def kinds(messages: Sequence[object]) -> list[str]:
    return [type(message).__name__ for message in messages]


def test_the_settings_come_first_and_what_was_said_meanwhile_after_them() -> None:
    dialogue = new()
    dialogue.update(SourceText(unstable="Good"))
    dialogue.commit("Good morning.")
    dialogue.update(SourceText(unstable="And"))
    said = open_(dialogue)
    assert kinds(said) == ["SessionUpdate", "SourceCommit", "SourceUpdate", "Ping"]
    assert isinstance(said[2], e.SourceUpdate)
    assert said[2].segment_id == "2"


def test_updates_are_thinned_and_the_newest_wins() -> None:
    dialogue = new()
    open_(dialogue)
    for text in ("a", "ab", "abc"):
        dialogue.update(SourceText(text))
    (first,) = dialogue.messages(1.0)
    assert isinstance(first, e.SourceUpdate)
    assert first.stable == "abc"
    dialogue.update(SourceText("abcd"))
    assert dialogue.messages(1.05) == ()
    assert dialogue.next_s() == pytest.approx(1.1)
    assert kinds(dialogue.messages(1.1)) == ["SourceUpdate"]


def test_the_line_is_tried_again_later_and_later() -> None:
    dialogue = new()
    delays = []
    for _ in range(12):
        dialogue.dialling()
        dialogue.lost(1006, "", 0.0)
        assert dialogue.retry_at_s is not None
        delays.append(dialogue.retry_at_s)
    assert delays[:3] == sorted(delays[:3])
    assert delays[-1] <= 10
    last = dialogue.events[-1]
    assert isinstance(last, ConnectionChanged)
    assert (last.state, last.attempt, last.reason) == ("waiting", 12, "The connection was lost")


def test_a_line_that_lived_begins_anew_with_short_waits() -> None:
    dialogue = new()
    for _ in range(5):
        dialogue.dialling()
        dialogue.lost(1006, "", 0.0)
    open_(dialogue, 10.0)
    dialogue.lost(1006, "", 30.0)
    assert dialogue.retry_at_s is not None
    assert dialogue.retry_at_s < 30.2


@pytest.mark.parametrize("code", [1000, 1002, 4400, 4401, 4404, 4409])
def test_where_trying_again_is_useless_it_is_over(code: int) -> None:
    dialogue = new()
    open_(dialogue)
    dialogue.lost(code, "", 1.0)
    assert dialogue.state == "closed"
    dialogue.lost(1006, "", 2.0)
    dialogue.finish(1000, "twice")
    assert dialogue.state == "closed"
    assert sum(getattr(each, "state", "") == "closed" for each in dialogue.events) == 1


def test_an_end_by_a_line_of_ones_own_that_was_given_up_is_none() -> None:
    dialogue = new()
    open_(dialogue)
    dialogue.lost(1006, "", 1.0)
    for at_s in (2.0, 10.0):  # asked for the session, and not answered in time
        dialogue.dialling()
        dialogue.connected(at_s)
        dialogue.lost(1006, "no answer", at_s + 8)
    dialogue.dialling()
    dialogue.connected(20.0)
    dialogue.received(e.SessionResumed(True, 2, seq=1), 20.0)
    for at_s in (21.0, 22.0):  # the server hears of both, one after the other
        dialogue.lost(4409, "", at_s)
        assert dialogue.state == "waiting"
        dialogue.dialling()
        dialogue.connected(at_s)
        dialogue.received(e.SessionResumed(True, 2, seq=1), at_s)
    dialogue.lost(4409, "", 23.0)  # this was somebody else
    assert dialogue.state == "closed"


def ask(dialogue: Dialogue, at_s: float) -> None:
    dialogue.dialling()
    dialogue.connected(at_s)


def superseded_after(code: int, *answers: Received) -> str:
    """Ask for a session and get these answers, then that end; ask again, go on, be superseded."""
    dialogue = new()
    open_(dialogue)
    dialogue.lost(1006, "", 1.0)
    ask(dialogue, 2.0)
    for answer in answers:
        dialogue.received(answer, 2.0)
    dialogue.lost(code, "", 3.0)
    if dialogue.state == "waiting":
        ask(dialogue, 4.0)
        dialogue.received(e.SessionResumed(True, 2, seq=1), 4.0)
        dialogue.lost(4409, "", 5.0)
    return dialogue.state


@pytest.mark.parametrize("code", sorted(e.RETRYABLE_CODES))
def test_a_line_may_be_closed_by_somebody_else_before_the_server_acts(code: int) -> None:
    assert superseded_after(code) == "waiting"


def test_a_server_that_has_answered_does_not_act_later() -> None:
    assert superseded_after(1006, e.SessionResumed(True, 2, seq=1)) == "closed"
    assert superseded_after(1013, refusal("too_many_sessions", retryable=True)) == "closed"
    assert superseded_after(4409) == "closed"  # it had acted: this was somebody else


def test_an_end_long_after_a_line_that_was_given_up_is_one() -> None:
    dialogue = new()
    open_(dialogue)
    dialogue.lost(1006, "", 1.0)
    dialogue.dialling()
    dialogue.connected(2.0)
    dialogue.lost(1006, "no answer", 10.0)
    dialogue.dialling()
    dialogue.connected(10.0)
    dialogue.lost(1013, "full", 10.0)
    dialogue.dialling()
    dialogue.connected(11.0)
    dialogue.received(e.SessionResumed(True, 2, seq=1), 11.0)
    dialogue.lost(4409, "", 71.0)
    assert dialogue.state == "closed"


def test_fresh_credentials_are_asked_for_once() -> None:
    dialogue = new(may_ask_again=True)
    dialogue.dialling()
    dialogue.lost(4401, "unauthorized", 0.0)
    dialogue.dialling()
    dialogue.lost(4401, "unauthorized", 1.0)
    states = [each.state for each in dialogue.events if isinstance(each, ConnectionChanged)]
    assert states == ["connecting", "waiting", "connecting", "closed"]


def test_a_server_that_wants_credentials_before_a_new_session_gets_them() -> None:
    dialogue = new()
    open_(dialogue)
    dialogue.lost(1006, "", 1.0)
    dialogue.dialling()
    dialogue.connected(2.0)
    assert kinds(dialogue.messages(2.0)) == ["SessionResume"]
    assert dialogue.received(refusal("unauthorized"), 2.0)
    assert not dialogue.is_resuming


def test_what_a_full_server_says_is_told() -> None:
    dialogue = new()
    dialogue.dialling()
    dialogue.connected(0.0)
    assert not dialogue.received(refusal("too_many_sessions", retryable=True), 0.0)
    assert isinstance(dialogue.events[-1], e.Error)


def test_a_text_that_found_no_room_is_offered_again() -> None:
    dialogue = new()
    open_(dialogue)
    dialogue.commit("Yes.")
    (commit,) = dialogue.messages(1.0)
    dialogue.received(refusal("overloaded", True, commit.event_id), 1.0)
    assert dialogue.next_s() == pytest.approx(1.3)
    assert dialogue.messages(1.2) == ()
    assert dialogue.messages(1.3) == (commit,)


def test_a_silent_server_is_noticed_and_a_slow_one_is_not() -> None:
    dialogue = new()
    open_(dialogue)
    assert not dialogue.is_silent(4.9)
    assert dialogue.is_silent(5.0)
    dialogue.received(UnknownEvent("weather", {}), 4.95)
    assert not dialogue.is_silent(5.0)
    assert dialogue.next_s() == pytest.approx(5.0)  # the next question


def test_a_round_trip_is_measured() -> None:
    dialogue = new()
    ping = open_(dialogue)[-1]
    assert isinstance(ping, e.Ping)
    dialogue.received(e.Pong(0.0, "another"), 0.1)
    dialogue.received(e.Pong(0.0, ping.id), 0.2)
    assert [each for each in dialogue.events if isinstance(each, RoundTrip)] == [RoundTrip(0.2)]


def test_whoever_speaks_to_a_room_alone_waits_for_an_answer_to_something_later() -> None:
    dialogue = new(targets=())
    open_(dialogue)
    dialogue.commit("Yes.")
    assert kinds(dialogue.messages(1.0)) == ["SourceCommit"]
    dialogue.lost(1006, "", 1.0)  # before any answer: it is said again
    assert "SourceCommit" in kinds(said := open_(dialogue, 2.0))
    ping = said[-1]
    assert isinstance(ping, e.Ping)
    dialogue.received(e.Pong(0.0, ping.id), 2.1)
    dialogue.lost(1006, "", 3.0)
    assert "SourceCommit" not in kinds(open_(dialogue, 4.0))


def test_closing_waits_for_what_was_committed() -> None:
    dialogue = new()
    open_(dialogue)
    dialogue.update(SourceText("Yes."))
    dialogue.close()
    assert kinds(dialogue.messages(1.0)) == ["SourceCommit"]
    final = e.TranslationFinal("1", "de", "Ja.", "Yes.", e.FinalStats(1, 0, 1.0, 1.0))
    dialogue.received(final, 1.1)
    assert kinds(dialogue.messages(1.1)) == ["SessionClose"]
    dialogue.received(e.SessionClosed("client", e.Usage(0, 0, 0.0)), 1.2)
    assert dialogue.state == "closed"


@pytest.mark.parametrize("room", ["room", None])
def test_a_new_session_says_again_what_its_room_may_lack(room: str | None) -> None:
    dialogue = Dialogue(Settings("en", ("de",), room=room), draw=lambda: 0.5)
    open_(dialogue)
    name = dialogue.commit("Yes.")
    dialogue.messages(0.5)
    stats = e.FinalStats(0, 0, 0.0, 0.0)
    final = e.TranslationFinal(name, "de", "Ja.", "Yes.", stats, seq=2)
    assert not dialogue.received(final, 1.0)
    dialogue.lost(1006, "", 2.0)
    ask(dialogue, 3.0)
    dialogue.received(e.SessionCreated(INFO, seq=1), 3.0)
    dialogue.received(refusal("session_expired"), 3.0)
    said = kinds(dialogue.messages(3.0))
    assert said == ["SessionUpdate", *(["SourceCommit"] if room else []), "Ping"]
    events = list(dialogue.events)
    dialogue.received(final, 4.0)  # it had come
    assert list(dialogue.events) == events
    dialogue.configure(replace(dialogue.settings, room="another"))
    assert dialogue.pending.said() == []


def test_closing_a_room_waits_for_an_answer() -> None:
    dialogue = new(targets=())
    ping = open_(dialogue)[-1]
    assert isinstance(ping, e.Ping)
    dialogue.received(e.Pong(0.0, ping.id), 0.1)
    dialogue.commit("Yes.")
    dialogue.close()
    commit, later = dialogue.messages(1.0)
    assert kinds([commit, later]) == ["SourceCommit", "Ping"]
    assert isinstance(later, e.Ping)
    dialogue.received(e.Pong(0.0, later.id), 1.1)
    assert kinds(dialogue.messages(1.2)) == ["SessionClose"]
    dialogue.lost(1000, "", 1.3)
    assert dialogue.state == "closed"


class Play:
    """Somebody who speaks, and a line that is cut again and again."""

    def __init__(self, targets: tuple[str, ...], max_replay: int) -> None:
        self.now_s = 0.0
        self.server = ModelServer(max_replay)
        self.dialogue = new(targets)
        self.targets = targets
        self.captions: Captions = EMPTY
        self.finals: list[e.TranslationFinal] = []
        self.committed: list[tuple[str, str]] = []
        self.cancelled: set[str] = set()
        self.text = ""
        self.dial()

    def dial(self) -> None:
        self.dialogue.dialling()
        self.server.connect()
        self.dialogue.connected(self.now_s)
        self.say()

    def say(self) -> None:
        messages = self.dialogue.messages(self.now_s)
        if self.server.line is not None:
            self.server.line.incoming += messages

    def step(self, action: str) -> None:
        dialogue = self.dialogue
        match action:
            case "write":
                self.text += "abc "[len(self.text) % 4]
                dialogue.update(SourceText(self.text))
            case "commit" if self.text:
                self.committed.append((dialogue.commit(), self.text))
                self.text = ""
            case "cancel" if self.text:
                self.cancelled.add(dialogue.segment_id(None))
                dialogue.cancel()
                self.text = ""
            case "take":
                self.server.take_one()
            case "give":
                self.give(self.server.next_event())
            case "cut":
                self.lose()
            case "restart":
                self.server.restart()
                self.lose()
            case "wait":
                self.now_s += 0.2
                if dialogue.state == "waiting":
                    self.now_s += 10
                    self.dial()
        self.say()
        self.look()

    def give(self, event: Received | None) -> None:
        if event is not None:
            assert not self.dialogue.received(event, self.now_s)

    def lose(self) -> None:
        self.server.line = None
        if self.dialogue.state != "waiting":
            self.dialogue.lost(1006, "", self.now_s)

    def look(self) -> None:
        while self.dialogue.events:
            event = self.dialogue.events.popleft()
            assert not isinstance(event, e.Error)
            before, self.captions = self.captions, apply_event(self.captions, event)
            if isinstance(event, e.TranslationFinal):
                self.finals.append(event)
            for segment in before.segments:
                for after in self.captions.segments:
                    if after.id == segment.id:
                        for target, line in segment.lines.items():
                            assert after.lines[target].stable.startswith(line.stable)

    def settle(self) -> None:
        """No more cuts: everything arrives."""
        for _ in range(40):
            self.step("wait")
            while self.server.take_one():
                pass
            while (event := self.server.next_event()) is not None:
                self.give(event)
                self.say()
            self.look()


ACTIONS = st.sampled_from(
    ["write"] * 6 + ["commit"] * 3 + ["take"] * 5 + ["give"] * 5
    + ["cancel", "cut", "cut", "restart", "wait", "wait", "wait"]
)  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(
    st.lists(ACTIONS, min_size=10, max_size=120),
    st.sampled_from([("de",), ("de", "fr")]),
    st.integers(0, 6),
)
def test_whatever_is_cut_and_whenever_nothing_is_lost_nothing_comes_twice_and_the_order_is_kept(
    actions: list[str], targets: tuple[str, ...], max_replay: int
) -> None:
    play = Play(targets, max_replay)
    for action in actions:
        play.step(action)
    play.settle()
    for target in targets:
        got = [(f.segment_id, f.text) for f in play.finals if f.target == target]
        assert got == [(name, translate(text, target)) for name, text in play.committed]
    assert play.dialogue.state == "open"
    if play.text:
        open_segment = play.captions.segments[-1]
        for target in targets:
            assert open_segment.lines[target].stable == translate(play.text, target)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(ACTIONS.filter(lambda action: action != "restart"), min_size=10, max_size=120),
    st.integers(0, 6),
)
def test_a_room_hears_each_sentence_once_though_its_speaker_gets_no_finals(
    actions: list[str], max_replay: int
) -> None:
    play = Play((), max_replay)
    for action in actions:
        play.step(action)
    play.settle()
    told = [said for session in play.server.sessions.values() for said in session.committed]
    assert sorted(told) == sorted(play.committed)
    assert play.dialogue.pending.num_commits == 0
