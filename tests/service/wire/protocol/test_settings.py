"""The settings of a session: what a client leaves out is not on the wire, what it sets is."""

from dataclasses import fields
from typing import get_args

import orjson

from service.wire import protocol as p


def test_what_is_left_out_is_not_on_the_wire() -> None:
    frame = orjson.loads(p.serialise(p.SessionUpdate(p.SessionParams())))
    assert frame == {"type": "session.update", "session": {}}


def test_every_setting_may_be_left_out_of_an_update() -> None:
    assert all(field.default is None for field in fields(p.SessionParams))


def test_each_form_of_address_goes_through_the_wire() -> None:
    assert get_args(p.Formality) == p.FORMALITIES
    for formality in p.FORMALITIES:
        update = p.SessionUpdate(p.SessionParams(targets=(p.TargetParams("de", formality),)))
        assert p.parse_client(p.serialise(update)) == update
