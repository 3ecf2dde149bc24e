"""Tagged words are never emptied: nobody may overwrite one that somebody still has to read.

That follows from what needs what. Here the phases of some layers are laid out as a graph, and for
each word whoever writes it must need, through others, all who read what it held before.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache

import pytest

from tokenspeed.backends.cuda_persistent import MAX_LAYERS
from tokenspeed.kernels.persistent.sizes import TAGS

HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, TILE = 512, 1024, 8, 2, 64, 128
QKV_PARTS, OUT_PARTS, DOWN_PARTS = 2, 4, 2
LAYERS = 3

Node = tuple[str | int, ...]
Word = tuple[str | int, ...]


class Phases:
    """Who reads and writes which words; nodes are (phase, layer, tile, part if it is one, rank).

    Words of a rank end with its number, those of an inbox with the ranks that receive and send it.
    Rows of a step go together but for attention, whose nodes and words have a row before the rank.

    Args:
        rows: the slots of a step's rows; None: the step does not have this row.
        waits: whether who leaves nothing for such a row waits for the layer before.
    """

    def __init__(
        self,
        *,
        one_region: bool = False,
        ranks: int = 1,
        halves: int = 2,
        rows: Sequence[int | None] = (0,),
        waits: bool = True,
    ) -> None:
        self.writer: dict[Word, Node] = {}  # the last one so far
        self.readers = defaultdict[Word, list[Node]](list)  # of its word
        self.needs = defaultdict[Node, list[Node]](list)
        self.overwritten: list[tuple[Node, Node, Word]] = []  # (reader before, writer, word)
        self._one_region, self._ranks, self._halves = one_region, range(ranks), halves
        self._rows, self._waits = rows, waits
        self._exchanges = 0
        for rank in self._ranks:
            for tile in range(HIDDEN // TILE):
                words = [(name, tile, rank) for name in ("x", "hidden", "squares")]
                self._write(("embedding", tile, rank), words)
        for layer in range(LAYERS):
            self._layer(layer)

    def _read(self, node: Node, words: Iterable[Word]) -> None:
        for word in words:
            self.needs[node].append(self.writer[word])
            self.readers[word].append(node)

    def _write(self, node: Node, words: Iterable[Word]) -> None:
        for word in words:
            self.overwritten += [(reader, node, word) for reader in self.readers.pop(word, [])]
            self.writer[word] = node

    def _multiply(
        self, name: str, layer: int, tiles: int, parts: int, x: str, x_tiles: int, rank: int
    ) -> list[Node]:
        """Let each part read its share of x; return the parts, tile by tile."""
        nodes: list[Node] = []
        for tile in range(tiles):
            for part in range(parts):
                nodes.append((name, layer, tile, part, rank))
                share = range(part * x_tiles // parts, (part + 1) * x_tiles // parts)
                rows = [(row,) for row in range(len(self._rows))] if x == "attended" else [()]
                self._read(nodes[-1], [(x, i, *row, rank) for i in share for row in rows])
        return nodes

    def _matrix(
        self, name: str, layer: int, tiles: int, parts: int, x: str, x_tiles: int, rank: int
    ) -> dict[int, Node]:
        """Multiply and add up the parts; return who does so, by tile."""
        region = "parts" if self._one_region else f"parts of {name}"
        nodes = self._multiply(name, layer, tiles, parts, x, x_tiles, rank)
        for i, node in enumerate(nodes if parts > 1 else []):
            self._write(node, [(region, i, rank)])
        finishers: dict[int, Node] = {}
        for tile in range(tiles):
            node = (name, layer, tile, rank)
            if parts > 1:
                self._read(node, [(region, tile * parts + part, rank) for part in range(parts)])
            else:
                self.needs[node].append(nodes[tile])
            finishers[tile] = node
        return finishers

    def _layer(self, layer: int) -> None:
        tiles = HIDDEN // TILE
        heads = HEADS + 2 * KV_HEADS
        per_tile, group = TILE // HEAD_DIM, HEADS // KV_HEADS
        for r in self._ranks:
            squares: list[Word] = [("squares", i, r) for i in range(tiles)]
            parts = self._multiply("qkv", layer, heads // per_tile, QKV_PARTS, "x", tiles, r)
            region = "parts" if self._one_region else "parts of qkv"
            for i, node in enumerate(parts):
                rows = range(len(self._rows))
                self._write(node, [(region, i, *([row] if row else []), r) for row in rows])
            for row, slot in enumerate(self._rows):
                before = [i for i, other in enumerate(self._rows[:row]) if other == slot]
                for kv in range(KV_HEADS):
                    node = ("attention", layer, kv, row, r)
                    queries = range(kv * group, (kv + 1) * group)
                    new = (HEADS + kv, HEADS + KV_HEADS + kv)
                    needed = [(row, (*queries, *new)), *((i, new) for i in before)]
                    for source, heads_of in needed if slot is not None else []:
                        for tile in sorted({head // per_tile for head in heads_of}):
                            own_parts = range(tile * QKV_PARTS, (tile + 1) * QKV_PARTS)
                            place = [source] if source else []
                            self._read(node, [(region, i, *place, r) for i in own_parts])
                    if slot is not None or self._waits:
                        self._read(node, squares)
                    own = range(kv * group // per_tile, (kv + 1) * group // per_tile)
                    self._write(node, [("attended", i, row, r) for i in own])
        self._project("out", layer, OUT_PARTS, "attended", HEADS * HEAD_DIM // TILE)
        for r in self._ranks:
            squares = [("squares", i, r) for i in range(tiles)]
            finishers = self._matrix("gate_up", layer, 2 * INNER // TILE, 1, "x", tiles, r)
            for tile, node in finishers.items():
                self._read(node, squares)
                self._write(node, [("inner", tile, r)])
        self._project("down", layer, DOWN_PARTS, "inner", 2 * INNER // TILE)

    def _project(self, name: str, layer: int, parts: int, x: str, x_tiles: int) -> None:
        tiles = HIDDEN // TILE
        if len(self._ranks) == 1:
            finishers = [self._matrix(name, layer, tiles, parts, x, x_tiles, 0)]
        else:
            finishers = self._exchange(name, layer, tiles, parts, x, x_tiles)
        for rank in self._ranks:
            for tile, node in finishers[rank].items():
                self._read(node, [("hidden", tile, rank)])
                self._write(node, [(each, tile, rank) for each in ("x", "squares", "hidden")])

    def _exchange(
        self, name: str, layer: int, tiles: int, parts: int, x: str, x_tiles: int
    ) -> list[dict[int, Node]]:
        """Push the parts of each rank into the inboxes of all, and add them up there: `ranks`."""
        half = self._exchanges % self._halves
        self._exchanges += 1
        for sender in self._ranks:
            nodes = self._multiply(name, layer, tiles, parts, x, x_tiles, sender)
            for node in nodes:
                tile, part = node[2:4]
                self._write(node, [("inbox", half, tile, part, to, sender) for to in self._ranks])
        finishers: list[dict[int, Node]] = []
        for rank in self._ranks:
            finishers.append({tile: (name, layer, tile, rank) for tile in range(tiles)})
            for tile, node in finishers[-1].items():
                for sender in self._ranks:
                    received = ("inbox", half, tile)
                    self._read(node, [(*received, part, rank, sender) for part in range(parts)])
        return finishers

    def early(self) -> list[tuple[Node, Node, Word]]:
        """Return the readers that a writer does not need, and so might come before."""

        @cache
        def all_needed(node: Node) -> frozenset[Node]:
            own = frozenset(self.needs[node])
            return own.union(*(all_needed(each) for each in own))

        return [
            (reader, writer, word)
            for reader, writer, word in self.overwritten
            if reader != writer and reader not in all_needed(writer)
        ]


def test_no_word_is_overwritten_before_everybody_has_read_it() -> None:
    phases = Phases()
    kinds = {word[0] for _, _, word in phases.overwritten}
    parts = {f"parts of {name}" for name in ("qkv", "out", "down")}
    assert kinds == {"x", "hidden", "squares", "attended", "inner", *parts}
    assert not phases.early()


def test_matrices_must_not_share_the_words_of_their_parts() -> None:
    """A part needs some tiles of the matrix before, while another still waits for its parts."""
    early = Phases(one_region=True).early()
    assert {(reader[0], writer[0]) for reader, writer, _ in early} == {
        ("down", "qkv"),
        ("attention", "out"),
    }


@pytest.mark.parametrize(
    "slots",
    [(0, 1), (0, 0), (0, None), (0, 1, 2, 3), (0, 0, 0, 0), (0, 0, 1, None), (0, 1, 1, None)],
)
def test_rows_do_not_overwrite_what_others_have_to_read(slots: tuple[int | None, ...]) -> None:
    phases = Phases(rows=slots)
    rows = {word[-2] for _, _, word in phases.overwritten if word[0] == "attended"}
    assert rows == set(range(len(slots)))
    assert not phases.early()


def test_zeros_of_an_absent_row_must_wait_for_the_layer_before() -> None:
    """Nothing else keeps a program without a tile from leaving them while others still read."""
    early = Phases(rows=(0, None), waits=False).early()
    assert {(reader[0], writer[0], word[0]) for reader, writer, word in early} == {
        ("out", "attention", "attended")
    }


@pytest.mark.parametrize("ranks", [2, 4])
def test_no_word_of_another_gpu_is_overwritten_before_everybody_has_read_it(ranks: int) -> None:
    phases = Phases(ranks=ranks)
    received = {word for _, _, word in phases.overwritten if word[0] == "inbox"}
    # The exchanges of out take one half, those of down the other.
    assert len(received) == ranks**2 * HIDDEN // TILE * (OUT_PARTS + DOWN_PARTS)
    assert not phases.early()


def test_one_half_of_an_inbox_is_not_enough() -> None:
    """A rank may send parts of the next matrix while another still waits for parts of this one."""
    early = Phases(ranks=2, halves=1).early()
    assert {(reader[0], writer[0]) for reader, writer, _ in early} == {
        ("out", "down"),
        ("down", "out"),
    }
    assert {word[0] for _, _, word in early} == {"inbox"}


@pytest.mark.parametrize("layers", [1, 32, 80, MAX_LAYERS])
def test_tags_of_one_step_differ_from_each_other_and_from_the_next_ones(layers: int) -> None:
    def tags(step: int) -> list[int]:
        return [step * TAGS + i for i in range(3 * layers + 1)]

    for step in (0, 1, 255, 256, (1 << 16) - 1):
        both = [tag & 0xFFFF for tag in (*tags(step), *tags(step + 1))]
        assert len(set(both)) == len(both)
