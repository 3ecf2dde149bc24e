"""The service's errors carry their fields."""

from service import errors
from service.errors import ConfigError, ProtocolError, RestError, ServiceError, TranslationFailed


def test_a_protocol_error_names_the_field() -> None:
    found = ProtocolError("invalid_event", "is 3, expected 0 to 2", "session.context", "e1")
    assert (found.code, found.param, found.event_id) == ("invalid_event", "session.context", "e1")
    assert str(found) == "session.context: is 3, expected 0 to 2"
    assert str(ProtocolError("internal", "failed")) == "failed"


def test_others_keep_what_their_reader_needs() -> None:
    assert str(ConfigError("TOKENSPEED_PORT", "is 'x'")) == "TOKENSPEED_PORT: is 'x'"
    assert RestError(413, "too big").status == 413
    assert TranslationFailed("text_too_long", "too long").code == "text_too_long"


def test_the_tree_of_the_docstring_is_the_tree_of_the_classes() -> None:
    said = errors.__doc__ or ""
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, ServiceError):
            assert name in said
