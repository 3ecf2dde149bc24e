"""Tagged words are never emptied: nobody may overwrite one that somebody still has to read.

That follows from what needs what. Here the phases of some layers are laid out as a graph, and for
each word whoever writes it must need, through others, all who read what it held before.
"""

from collections import defaultdict
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
    """Who reads and writes which words; nodes are (phase, layer, tile, and part if it is one)."""

    def __init__(self, *, one_region: bool = False, qkv_parts: int = QKV_PARTS) -> None:
        self.writer: dict[Word, Node] = {}  # the last one so far
        self.readers = defaultdict[Word, list[Node]](list)  # of its word
        self.needs = defaultdict[Node, list[Node]](list)
        self.overwritten: list[tuple[Node, Node, Word]] = []  # (reader before, writer, word)
        self._one_region, self._qkv_parts = one_region, qkv_parts
        for tile in range(HIDDEN // TILE):
            self._write(("embedding", tile), [("x", tile), ("hidden", tile), ("squares", tile)])
        for layer in range(LAYERS):
            self._layer(layer)

    def _read(self, node: Node, words: list[Word]) -> None:
        for word in words:
            self.needs[node].append(self.writer[word])
            self.readers[word].append(node)

    def _write(self, node: Node, words: list[Word]) -> None:
        for word in words:
            self.overwritten += [(reader, node, word) for reader in self.readers.pop(word, [])]
            self.writer[word] = node

    def _parts(
        self, name: str, layer: int, tiles: int, parts: int, x: str, x_tiles: int
    ) -> list[list[Word]]:
        """Multiply: each part reads its share of x; return the words of each tile's parts."""
        region = "parts" if self._one_region else f"parts of {name}"
        words: list[list[Word]] = []
        for tile in range(tiles):
            words.append([(region, tile * parts + part) for part in range(parts)])
            for part in range(parts):
                node: Node = (name, layer, tile, part)
                share = range(part * x_tiles // parts, (part + 1) * x_tiles // parts)
                self._read(node, [(x, i) for i in share])
                if parts > 1 or name == "qkv":
                    self._write(node, [words[tile][part]])
        return words

    def _matrix(
        self, name: str, layer: int, tiles: int, parts: int, x: str, x_tiles: int
    ) -> dict[int, Node]:
        """Multiply; return who adds up the parts, by tile."""
        finishers: dict[int, Node] = {}
        for tile, words in enumerate(self._parts(name, layer, tiles, parts, x, x_tiles)):
            node: Node = (name, layer, tile)
            if parts > 1:
                self._read(node, words)
            else:
                self.needs[node].append((name, layer, tile, 0))
            finishers[tile] = node
        return finishers

    def _layer(self, layer: int) -> None:
        tiles = HIDDEN // TILE
        squares: list[Word] = [("squares", i) for i in range(tiles)]
        heads = HEADS + 2 * KV_HEADS
        per_tile = TILE // HEAD_DIM
        parts = self._parts("qkv", layer, heads // per_tile, self._qkv_parts, "x", tiles)
        group = HEADS // KV_HEADS
        for kv in range(KV_HEADS):
            node: Node = ("attention", layer, kv)
            queries = range(kv * group, (kv + 1) * group)
            needed = {i // per_tile for i in (*queries, HEADS + kv, HEADS + KV_HEADS + kv)}
            self._read(node, [word for tile in sorted(needed) for word in parts[tile]])
            self._read(node, squares)
            own = range(kv * group // per_tile, (kv + 1) * group // per_tile)
            self._write(node, [("attended", i) for i in own])
        self._project("out", layer, OUT_PARTS, "attended", HEADS * HEAD_DIM // TILE)
        finishers = self._matrix("gate_up", layer, 2 * INNER // TILE, 1, "x", tiles)
        for tile, node in finishers.items():
            self._read(node, squares)
            self._write(node, [("inner", tile)])
        self._project("down", layer, DOWN_PARTS, "inner", 2 * INNER // TILE)

    def _project(self, name: str, layer: int, parts: int, x: str, x_tiles: int) -> None:
        for tile, node in self._matrix(name, layer, HIDDEN // TILE, parts, x, x_tiles).items():
            self._read(node, [("hidden", tile)])
            self._write(node, [("x", tile), ("squares", tile), ("hidden", tile)])

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


@pytest.mark.parametrize("qkv_parts", [1, QKV_PARTS])
def test_no_word_is_overwritten_before_everybody_has_read_it(qkv_parts: int) -> None:
    phases = Phases(qkv_parts=qkv_parts)
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


@pytest.mark.parametrize("layers", [1, 32, 80, MAX_LAYERS])
def test_tags_of_one_step_differ_from_each_other_and_from_the_next_ones(layers: int) -> None:
    def tags(step: int) -> list[int]:
        return [step * TAGS + i for i in range(3 * layers + 1)]

    for step in (0, 1, 255, 256, (1 << 16) - 1):
        both = [tag & 0xFFFF for tag in (*tags(step), *tags(step + 1))]
        assert len(set(both)) == len(both)
