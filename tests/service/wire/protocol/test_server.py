"""What the server sends: all of it is listed, and what is newer than a client does not harm it."""

import orjson

from service.wire import protocol


def test_no_message_is_left_out_of_the_table() -> None:
    kinds = [kind for kind in vars(protocol).values() if isinstance(kind, type)]
    found = {
        k for k in kinds if issubclass(k, protocol.ServerEvent) and k is not protocol.ServerEvent
    }
    assert found == set(protocol.SERVER_EVENTS.values())
    assert all(kind.type == name for name, kind in protocol.SERVER_EVENTS.items())


def test_a_client_ignores_what_a_newer_server_says_of_a_field() -> None:
    target = {"language": "de", "voice": "more"}
    frame = {"type": "session.updated", "session": {"targets": [target]}}
    params = protocol.SessionParams(targets=(protocol.TargetParams("de"),))
    assert protocol.parse_server(orjson.dumps(frame)) == protocol.SessionUpdated(params)
