"""Examples of the encoding's own description (protobuf.dev, "Encoding"), and its limits."""

import struct

import pytest

from tokenspeed.model.protobuf import as_float, as_message, as_number


@pytest.mark.parametrize(
    ("field", "value", "encoded"),
    [
        (1, 150, "08 96 01"),
        (1, 0, "08 00"),
        (1, 127, "08 7f"),
        (1, 128, "08 80 01"),
        (3, True, "18 01"),
        (16, 1, "80 01 01"),  # the number of a field takes a second byte from here on
        (2, -2, "10 fe ff ff ff ff ff ff ff ff 01"),
        (1, 2**64 - 1, "08 ff ff ff ff ff ff ff ff ff 01"),
    ],
)
def test_a_number(field: int, value: int, encoded: str) -> None:
    assert as_number(field, value) == bytes.fromhex(encoded)


def test_a_text() -> None:
    assert as_message(2, b"testing") == bytes.fromhex("12 07 74 65 73 74 69 6e 67")
    long = as_message(2, bytes(300))
    assert long == bytes.fromhex("12 ac 02") + bytes(300)


def test_a_message_within_a_message() -> None:
    assert as_message(3, as_number(1, 150)) == bytes.fromhex("1a 03 08 96 01")


def test_a_float() -> None:
    assert as_float(2, -1.5) == bytes.fromhex("15") + struct.pack("<f", -1.5)
