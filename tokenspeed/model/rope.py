"""Rotary positions: every kind of scaling, folded into a frequency for each pair and one factor.

A backend gets cosines and sines, whatever the kind; a layer without rotation has frequencies of 0.
Knows the words of Hugging Face configurations; does not know layers or devices.
Source: arXiv 2104.09864 (RoPE), 2309.00071 (YaRN), 2402.13753 (LongRoPE).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

ROPE_KINDS = ("default", "none", "linear", "dynamic", "llama3", "yarn", "longrope", "alpha")


@dataclass(frozen=True)
class Rope:
    """One way of rotating: its kind, and the numbers that the kind reads.

    Attributes:
        kind: of ROPE_KINDS; "none" leaves heads as they are.
        theta: base of the frequencies.
        dim: dimensions of a head that are rotated, the first ones; 0 is all.
        factor: how much longer than the original the context is (HunYuan's alpha for "alpha").
        original: positions of the original context.
        attention_factor: multiplies cosines and sines ("yarn", "longrope").
        low, high: turns in the original context below which a pair is stretched, and above which
            it is left as it is ("llama3", "yarn").
        is_truncated: "yarn" rounds the bounds between those pairs to whole pairs.
        short_factors, long_factors: of each pair, in and beyond the original context ("longrope").
    """

    theta: float = 10000.0
    kind: str = "default"
    dim: int = 0
    factor: float = 1.0
    original: int = 2048
    attention_factor: float = 1.0
    low: float = 1.0
    high: float = 4.0
    is_truncated: bool = True
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ROPE_KINDS:
            raise ValueError(f"rope is {self.kind!r}, expected {', '.join(ROPE_KINDS)}")
        if self.dim % 2:
            raise ValueError(f"rope rotates {self.dim} dimensions, expected an even number")


def rope_frequencies(rope: Rope, head_dim: int, length: int) -> Tensor:
    """Return the angle per position of each pair: [head_dim / 2] float32, on the CPU.

    Args:
        length: positions of a slot, on which "dynamic" and "longrope" depend. Short sequences use
            it too, so that a row's result does not depend on how long its sequence gets.
    """
    # On the CPU whatever the default device is; it may be "meta".
    if rope.kind == "none":
        return torch.zeros(head_dim // 2, device="cpu")
    dim = rope.dim or head_dim
    exponents = torch.arange(0, dim, 2, dtype=torch.int64, device="cpu").float() / dim
    frequencies = _SCALE[rope.kind](rope, 1.0 / _base(rope, dim, length) ** exponents, length)
    return torch.cat((frequencies, torch.zeros((head_dim - dim) // 2, device="cpu")))


def rope_factor(rope: Rope) -> float:
    """Return what cosines and sines are multiplied by; 1 for kinds without a factor."""
    return rope.attention_factor if rope.kind in ("yarn", "longrope") else 1.0


def rotated_first(head_dim: int, dim: int) -> Tensor:
    """Return the order of a head's rows that pairs `dim` rotated ones as backends pair them.

    A model that rotates the first `dim` dimensions pairs i with i + dim / 2; every backend pairs i
    with i + head_dim / 2. Queries and keys in another order have the same scores.

    Returns:
        [head_dim] int64, the stored row of each.
    """
    rows, half = torch.arange(head_dim), dim // 2
    first, second, rest = rows[:half], rows[half:dim], rows[dim:]
    return torch.cat((first, rest[: len(rest) // 2], second, rest[len(rest) // 2 :]))


def yarn_attention_factor(factor: float, mscale: float = 1.0, mscale_all_dim: float = 0.0) -> float:
    """Return YaRN's factor of cosines and sines where a configuration gives none."""

    def scale(by: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * by * math.log(factor) + 1.0

    return scale(mscale) / scale(mscale_all_dim) if mscale and mscale_all_dim else scale(1.0)


def longrope_attention_factor(factor: float, original: int) -> float:
    """Return LongRoPE's factor of cosines and sines where a configuration gives none."""
    return 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))


def _base(rope: Rope, dim: int, length: int) -> float:
    if rope.kind == "alpha":
        return rope.theta * rope.factor ** (dim / (dim - 2))
    if rope.kind == "dynamic":
        stretch = rope.factor * max(length, rope.original) / rope.original - (rope.factor - 1)
        return rope.theta * stretch ** (dim / (dim - 2))
    return rope.theta


def _as_is(rope: Rope, frequencies: Tensor, length: int) -> Tensor:
    return frequencies


def _linear(rope: Rope, frequencies: Tensor, length: int) -> Tensor:
    return frequencies / rope.factor


def _llama3(rope: Rope, frequencies: Tensor, length: int) -> Tensor:
    turns = rope.original * frequencies / (2 * math.pi)
    keep = ((turns - rope.low) / (rope.high - rope.low)).clamp(0, 1)  # 0: stretch, 1: leave
    return frequencies * (keep + (1 - keep) / rope.factor)


def _yarn(rope: Rope, frequencies: Tensor, length: int) -> Tensor:
    dim = 2 * len(frequencies)

    def pair(turns: float) -> float:  # the one that makes so many turns in the original context
        return dim * math.log(rope.original / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))

    first, last = pair(rope.high), pair(rope.low)
    if rope.is_truncated:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, dim - 1)
    span = last - first or 0.001
    stretch = ((torch.arange(dim // 2, device="cpu").float() - first) / span).clamp(0, 1)
    return frequencies / rope.factor * stretch + frequencies * (1 - stretch)


def _longrope(rope: Rope, frequencies: Tensor, length: int) -> Tensor:
    factors = rope.long_factors if length > rope.original else rope.short_factors
    return frequencies / torch.tensor(factors, device="cpu")


_SCALE = {
    "default": _as_is,
    "alpha": _as_is,
    "dynamic": _as_is,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}
