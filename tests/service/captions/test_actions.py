"""What a session asks for."""

from service.captions.actions import Action, Close, Send, events_of
from service.wire import protocol as p


def test_the_events_among_actions_in_order() -> None:
    events: list[p.ServerEvent] = [p.Pong(1.0), p.SessionNotice("degraded", "busy")]
    actions: list[Action] = [Send(events[0]), Close(1000, "client"), Send(events[1], arrival_s=2.0)]
    assert events_of(actions) == events
