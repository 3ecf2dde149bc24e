"""Protocol buffers' wire format, as far as a ModelProto of sentencepiece needs it.

A field is its number and its kind, then the value. Two messages behind one another are one message
that has the fields of both.
"""

import struct


def as_message(field: int, content: bytes) -> bytes:
    """Return a field that holds a text or a message."""
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def as_float(field: int, value: float) -> bytes:
    """Return a field that holds a float32."""
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def as_number(field: int, value: int) -> bytes:
    """Return a field that holds a whole number or a truth value."""
    return _varint(field << 3) + _varint(int(value) % 2**64)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
