"""Where the rows of a step belong, and the slots with keys and values of earlier rows."""

from typing import Any, NamedTuple


class Places(NamedTuple):
    """Where rows belong.

    Attributes:
        slots: [rows] int32; the slot that a row belongs to.
        positions: [rows] int32; its position in that slot.
    """

    slots: Any
    positions: Any


class Cache(NamedTuple):
    """One layer of the slots; k and v are [slots, kv_heads, max_length, head_dim]."""

    k: Any
    v: Any
