"""Words of a small model's step: what waits for them, and that none is overwritten too early.

The PTX is run here, line by line, by one thread. What needs what is walked through as in
`persistent`'s test_tagged.py.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tokenspeed.backends.cuda_small import MAX_LAYERS, plan_of
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.kernels.persistent.sizes import TAGS
from tokenspeed.kernels.small.arguments import GROUP, HEAD_DIM, ROWS, WARPS, SmallPlan
from tokenspeed.kernels.small.words import halves_asm, halves_constraints, sums_asm

LAYERS, STEPS = 3, 2
MAX_POLLS = 1 << 24

Word = tuple[str | int, ...]  # its kind, and which
Load = Callable[[int, int], list[int]]  # from an address and the number of the poll


class Trap(Exception):
    """The thread gave up."""


class Thread:
    """A thread that runs the few instructions of `words`.

    Args:
        operands: what is read, by number. load: returns four words of 32 bits.
        polls: the value of the counter of polls when it starts.
    """

    def __init__(self, asm: str, operands: dict[int, int], load: Load, polls: int = 0) -> None:
        self.registers: dict[str, Any] = {f"${i}": value for i, value in operands.items()}
        self.loads: list[int] = []  # addresses of the last poll
        self._load, self._polls, self._first = load, 0, polls
        lines = [each.strip() for each in re.split(r";|(?<=LOOP:)|(?<=DONE:)", asm.strip("{} "))]
        labels = {line[:-1]: i for i, line in enumerate(lines) if line.endswith(":")}
        at = 0
        while at < len(lines):
            jump = self._run(lines[at])
            at = labels[jump] if jump else at + 1

    def _run(self, line: str) -> str | None:
        if not line or line.endswith(":") or line.startswith(".reg"):
            return None
        if line.startswith("@"):
            predicate, _, label = line[1:].split()
            return label if self.registers[predicate] else None
        name, _, rest = line.partition(" ")
        if name == "trap":
            raise Trap
        parts = [each.strip() for each in rest.split(",")]
        if name == "ld.volatile.global.v4.u32":
            self._ask(rest)
        elif name != "bar.warp.sync":
            self.registers[parts[0]] = self._value(name, *(self._of(each) for each in parts[1:]))
        return None

    def _ask(self, rest: str) -> None:
        found = re.fullmatch(r"\{(.*)\}, \[(\$\d+)(?:\+(\d+))?\]", rest)
        assert found is not None
        address = self.registers[found[2]] + int(found[3] or 0)
        if address == min([*self.loads, address]):  # the first of a poll
            self.loads, self._polls = [], self._polls + 1
        self.loads.append(address)
        names = [each.strip() for each in found[1].split(",")]
        self.registers |= zip(names, self._load(address, self._polls), strict=True)

    def _of(self, name: str) -> Any:
        if name == "0" and self._first:  # where the counter of polls starts
            value, self._first = self._first, 0
            return value
        return self.registers[name] if name in self.registers else int(name, 0)

    def _value(self, name: str, *of: Any) -> Any:
        match name:
            case "mov.u32" | "mov.b32":
                return of[0]
            case "setp.eq.u32":
                return of[0] == of[1]
            case "setp.eq.and.u32":
                return of[0] == of[1] and of[2]
            case "setp.lt.u32":
                return of[0] < of[1]
            case "add.u32":
                return of[0] + of[1]
            case "add.rn.f32":
                return bits(floats(of[0]) + floats(of[1]))
            case "xor.b32":
                return of[0] ^ of[1]
            case "or.b32":
                return of[0] | of[1]
            case "shl.b32":
                return (of[0] << of[1]) & 0xFFFFFFFF
            case "shr.u32":
                return of[0] >> of[1]
            case "prmt.b32":
                assert of[2] == 0x5410  # the lower halves of both
                return (of[0] & 0xFFFF) | (of[1] & 0xFFFF) << 16
        raise AssertionError(f"{name} is new here")


def floats(value: int) -> np.float32:
    return np.uint32(value).view(np.float32)


def bits(value: float | np.float32) -> int:
    return int(np.float32(value).view(np.uint32))


TAG = 0xABCD04


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_parts_are_summed_in_order_once_all_are_here(parts: int) -> None:
    values = np.random.default_rng(parts).standard_normal((parts, 2)).astype(np.float32)
    stride, begin = 4096, 1 << 20

    def load(address: int, poll: int) -> list[int]:
        part, rest = divmod(address - begin, stride)
        assert rest == 0
        # One word more with every poll.
        tags = [TAG if poll > 2 * part + i else TAG - 1 for i in range(2)]
        return [bits(values[part, 0]), tags[0], bits(values[part, 1]), tags[1]]

    thread = Thread(sums_asm(parts, stride), {2: begin, 3: begin + 8, 4: TAG, 5: TAG}, load)
    assert thread._polls == 2 * parts
    assert len(thread.loads) == parts
    want = values[0].copy()
    for more in values[1:]:
        want += more
    assert [thread.registers["$0"], thread.registers["$1"]] == [bits(each) for each in want]


@pytest.mark.parametrize("loads", [1, 2, 4])
def test_halves_are_packed_once_all_are_here(loads: int) -> None:
    outputs, words = 2 * loads, 4 * loads
    kinds = halves_constraints(loads).split(",")
    assert kinds == ["=r"] * outputs + ["l"] * words + ["r"] * words + ["~{memory}"]
    # Groups of four may lie anywhere.
    pointers = {outputs + i: (i // 4 + 1) * 1000 + i % 4 * 4 for i in range(words)}
    tags = {outputs + words + i: TAG for i in range(words)}

    def load(address: int, poll: int) -> list[int]:
        first = (address // 1000 - 1) * 4
        assert address % 1000 == 0
        # A tag of 16 bits; the last is here after all others, the value has every bit.
        return [
            ((TAG if poll > first + i else TAG + 1) & 0xFFFF) << 16 | (0xFFFF - first - i)
            for i in range(4)
        ]

    thread = Thread(halves_asm(loads), pointers | tags, load)
    assert thread._polls == words
    packed = [thread.registers[f"${i}"] for i in range(outputs)]
    assert [half for each in packed for half in (each & 0xFFFF, each >> 16)] == [
        0xFFFF - i for i in range(words)
    ]


@pytest.mark.parametrize(
    ("asm", "operands"),
    [(sums_asm(4, 64), {2: 0, 4: TAG}), (halves_asm(2), {4: 0, 8: 64, 12: TAG})],
)
def test_polls_have_a_bound(asm: str, operands: dict[int, int]) -> None:
    polls: list[int] = []

    def never(_: int, poll: int) -> list[int]:
        polls.append(poll)
        return [0] * 4

    with pytest.raises(Trap):
        Thread(asm, operands, never, polls=MAX_POLLS - 10)
    assert polls[-1] == 10


class Walk:
    """The events of a step: each needs those of its program before it, and who wrote what it reads.

    Args:
        idle_reads: whether programs without tiles read the hidden states of every layer, too.
        apart: whether a step begins when the one before has ended.
    """

    def __init__(self, plan: SmallPlan, *, idle_reads: bool = False, apart: bool = True) -> None:
        self._plan, self._idle_reads = plan, idle_reads
        self._names: list[tuple[str, int, int]] = []  # event, layer, program
        self._needed: list[int] = []  # by each event, as bits
        self._last: dict[int, int] = {}  # event of a program
        self._writer: dict[Word, int] = {}
        self._readers = defaultdict[Word, set[int]](set)
        self.overwritten = set[str]()  # kinds of words
        self.early = set[tuple[str, str]]()  # a reader, and who may write before it has read
        self._ended = 0
        for _ in range(STEPS):
            for layer in range(LAYERS):
                self._layer(layer)
            for program in range(self._programs):
                self._event("head", LAYERS, program, self._hidden())
            self._ended = (1 << len(self._names)) - 1 if apart else 0

    @property
    def _programs(self) -> int:
        plan = self._plan
        return plan.kv_heads + plan.gate_programs + plan.down_programs + 1  # one has no tiles

    def _hidden(self) -> list[Word]:
        return [("hidden", unit) for unit in range(self._units(self._plan.hidden, "down"))]

    def _units(self, rows: int, matrix: str) -> int:
        return rows // (WARPS * ROWS // getattr(self._plan, f"{matrix}_parts"))

    def _event(
        self,
        name: str,
        layer: int,
        program: int,
        reads: Sequence[Word] = (),
        writes: Sequence[Word] = (),
    ) -> None:
        """Let a program read, then write."""
        number, needed = len(self._names), self._ended
        own = [self._last[program]] if program in self._last else []
        for source in [*own, *(self._writer[word] for word in reads)]:
            needed |= self._needed[source] | 1 << source
        self._names.append((name, layer, program))
        self._needed.append(needed)
        self._last[program] = number
        for word in reads:
            self._readers[word].add(number)
        for word in writes:
            for reader in self._readers.pop(word, set()) - {number}:
                self.overwritten.add(str(word[0]))
                if not needed >> reader & 1:
                    self.early.add((self._names[reader][0], name))
            self._writer[word] = number

    def _layer(self, layer: int) -> None:
        plan, hidden = self._plan, self._hidden() if layer else []
        gates = range(plan.kv_heads, plan.kv_heads + plan.gate_programs)
        downs = range(gates.stop, gates.stop + plan.down_programs)
        kv_heads, per_head = plan.kv_heads, HEAD_DIM // (WARPS * ROWS // plan.qkv_parts)
        qkv_units = self._units((GROUP + 2) * kv_heads * HEAD_DIM, "qkv")
        units, down_units = self._units(2 * plan.inner, "gate"), self._units(plan.hidden, "down")
        if self._idle_reads:
            self._event("idle", layer, downs.stop, hidden)
        for i, program in enumerate(gates):
            self._event("hidden", layer, program, hidden)
            for unit in range(i, qkv_units, len(gates)):
                self._event("qkv", layer, program, (), [("heads", unit)])
        for kv in range(kv_heads):
            heads = [kv * GROUP + i for i in range(GROUP)]
            heads += [GROUP * kv_heads + kv, (GROUP + 1) * kv_heads + kv]
            reads = [("heads", head * per_head + i) for head in heads for i in range(per_head)]
            written = [("parts", kv, unit) for unit in range(down_units)]
            self._event("attend", layer, kv, reads, written)
        for i, program in enumerate(gates):
            parts = [("parts", kv, unit) for kv in range(kv_heads) for unit in range(down_units)]
            self._event("out", layer, program, parts)
            for unit in range(i, units, len(gates)):
                self._event("gate", layer, program, (), [("inner", unit)])
        for i, program in enumerate(downs):
            for unit in range(i, down_units, len(downs)):
                own: list[Word] = [("parts", kv, unit) for kv in range(kv_heads)]
                own += [("hidden", unit)] if layer else []
                inner = [("inner", each) for each in range(units)] if unit == i else []
                self._event("down", layer, program, [*own, *inner], [("hidden", unit)])


PLANS = [plan_of(SHAPES["default-40m"], 512, 16, programs) for programs in (132, 114, 40)]


@pytest.mark.parametrize("plan", PLANS)
def test_no_word_is_overwritten_before_everybody_has_read_it(plan: SmallPlan) -> None:
    walk = Walk(plan)
    assert walk.overwritten == {"heads", "parts", "inner", "hidden"}
    assert not walk.early


def test_programs_without_tiles_must_not_read_in_every_layer() -> None:
    """Nobody needs them, so they might come late; the head's hidden states stay."""
    assert Walk(PLANS[0], idle_reads=True).early == {("idle", "down")}


def test_a_step_must_not_begin_before_the_one_before_has_ended() -> None:
    """Programs that attend read the last hidden states, and nothing of the next step needs that."""
    assert ("head", "down") in Walk(PLANS[0], apart=False).early


@pytest.mark.parametrize("layers", [1, 10, MAX_LAYERS])
def test_tags_of_one_step_differ_from_each_other_and_from_the_next_ones(layers: int) -> None:
    def tags(step: int) -> list[int]:
        return [step * TAGS + layer * 4 + phase for layer in range(layers) for phase in range(1, 5)]

    for step in (1, 255, 256, (1 << 16) - 1):
        both = [tag & 0xFFFF for tag in (*tags(step), *tags(step + 1))]
        assert len(set(both)) == len(both)
        assert 0 not in (tag & 0xFFFF for tag in tags(step))  # what is not written says 0
