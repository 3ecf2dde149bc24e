"""What stands inside the events of the server: each part in one of them, each alone in one file."""

from service.wire import protocol
from service.wire.describe import parts_of
from service.wire.protocol import parts, settings


def test_every_part_stands_in_an_event_of_the_server_and_in_none_of_a_client() -> None:
    declared = {
        kind
        for kind in vars(parts).values()
        if isinstance(kind, type) and kind.__module__ == parts.__name__
    }
    sent = parts_of(protocol.SERVER_EVENTS) - set(protocol.SERVER_EVENTS.values())
    assert declared == {kind for kind in sent if kind.__module__ != settings.__name__}
    assert not declared & parts_of(protocol.CLIENT_EVENTS)
