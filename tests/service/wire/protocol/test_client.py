"""What clients send: all of it is listed, what is not built is refused, numbers are bounded."""

import json
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import orjson
import pytest

from service.errors import ProtocolError
from service.wire import protocol


def test_no_message_is_left_out_of_the_table() -> None:
    kinds = [kind for kind in vars(protocol).values() if isinstance(kind, type)]
    found = {
        k for k in kinds if issubclass(k, protocol.ClientEvent) and k is not protocol.ClientEvent
    }
    assert found == set(protocol.CLIENT_EVENTS.values())
    assert all(kind.type == name for name, kind in protocol.CLIENT_EVENTS.items())


def test_a_field_may_be_null() -> None:
    target = {"language": "de", "glossary_id": None}
    frame = {"type": "session.update", "session": {"targets": [target], "room": None}}
    params = protocol.SessionParams(targets=(protocol.TargetParams("de"),))
    assert protocol.parse_client(orjson.dumps(frame)) == protocol.SessionUpdate(params)


@pytest.mark.parametrize("beyond", [2**53, 2**63, 10**30, -(2**53), 1e300])
def test_no_number_is_past_what_javascript_holds(beyond: float) -> None:
    """Every number of every event of a client, whole or not."""
    least: dict[str, dict[str, Any]] = {
        "source.update": {"rev": 1},
        "source.append": {"text": "a"},
        "source.commit": {},
        "session.resume": {"session_id": "a", "resume_token": "b", "last_seq": 1, "epoch": "c"},
    }
    found = 0
    for name, kind in protocol.CLIENT_EVENTS.items():
        hints = get_type_hints(kind)
        for number in (
            f.name for f in fields(kind) if {int, float} & {hints[f.name], *get_args(hints[f.name])}
        ):
            found += 1
            frame = json.dumps({"type": name, **least[name], number: beyond})
            with pytest.raises(ProtocolError) as caught:
                protocol.parse_client(frame)
            assert caught.value.param == number
    assert found >= 4
