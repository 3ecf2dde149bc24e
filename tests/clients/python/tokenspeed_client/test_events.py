"""The generated classes: all there are, as the service has them."""

from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from service.wire import protocol
from tokenspeed_client import events


def test_every_class_has_the_fields_of_the_services_own() -> None:
    kinds: list[Any] = [*protocol.CLIENT_EVENTS.values(), *protocol.SERVER_EVENTS.values()]
    for kind in kinds:
        ours = getattr(events, kind.__name__)
        assert ours.type == kind.type
        assert [field.name for field in fields(ours)] == [field.name for field in fields(kind)]
        assert get_type_hints(ours).keys() == get_type_hints(kind).keys()
    assert events.SERVER_EVENTS.keys() == protocol.SERVER_EVENTS.keys()


def test_no_class_is_the_services_own() -> None:
    found = [each for each in vars(events).values() if is_dataclass(each)]
    assert len(found) > 30
    assert {each.__module__ for each in found} == {"tokenspeed_client.events"}
    assert events.RETRYABLE_CODES == protocol.RETRYABLE_CLOSE_CODES
    assert events.CLOSE_REASONS == protocol.CLOSE_CODES
