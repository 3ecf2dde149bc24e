"""Where the rows of a step stand, and what the slots hold of earlier ones."""

from typing import Any, NamedTuple


class Places(NamedTuple):
    """Where rows stand.

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
