"""What is quicker in Triton's interpreter says, and computes, what Triton's own does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from triton._C.libtriton.ir import ROUNDING_MODE
from triton.language import core
from triton.runtime import interpreter

from tests.tokenspeed.interpreter import REPLACED
from tests.tokenspeed.kernels.support import DEVICE, FORMATS, ints, matrix, random, random_rows
from tests.tokenspeed.kernels.test_attention import KV_HEADS, filled, run
from tests.tokenspeed.kernels.test_lm_head import choose
from tokenspeed.kernels.arithmetic import INTERPRETED
from tokenspeed.kernels.norm import Scaled, square_sum_ref
from tokenspeed.kernels.slots import Places

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels run on a GPU")


@contextmanager
def untouched() -> Iterator[None]:
    """Triton's interpreter as it was installed."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, original in REPLACED:
            patch.setattr(owner, name, original)
        yield


def both(told: Callable[[], Any]) -> tuple[Any, Any]:
    """Ask the quicker one twice, as it may keep the first answer; return both."""
    told()
    quick = told()
    with untouched():
        return quick, told()


@pytest.mark.parametrize("form", FORMATS)
def test_kernels_give_the_same_bits(form: str) -> None:
    x = Scaled(random_rows(form, 5, 128, seed=1), square_sum_ref(random(5, 128, seed=2)))
    weight, drafts = matrix(random(70, 128, seed=3), form), ints(-1, 5, 69)
    biases = torch.tensor([0.0, 0.5, 0.9], device=DEVICE)
    quick, slow = both(lambda: choose(x, weight, ints(0, 2, 4), drafts, biases))
    assert all(map(torch.equal, quick, slow))


def test_attention_gives_the_same_bits() -> None:
    cache, q = filled(140, 8, [140, 3]), random(4, KV_HEADS * 3, 8)
    places = Places(ints(0, 0, 0, 1), ints(136, 137, 138, 2))
    quick, slow = both(lambda: run(q, cache, places, 2))
    assert torch.equal(quick, slow)


def described(value: Any) -> dict[str, str]:
    return {name: repr(held) for name, held in vars(value).items()}


@pytest.mark.parametrize("shape", [[1], [64], [4, 1, 128]])
@pytest.mark.parametrize("element", [core.bfloat16, core.int1, core.pointer_type(core.int8)])
def test_a_block_is_described_as_it_was(shape: list[int], element: Any) -> None:
    for given in (shape, core.tuple(shape), [core.constexpr(size) for size in shape]):

        def told(given: Any = given) -> list[Any]:
            kind = core.block_type(element, given)
            value = core.tensor("handle", kind)
            return [described(kind), described(value), interpreter._get_np_dtype(kind)]

        quick, slow = both(told)
        assert quick == slow


@pytest.mark.parametrize(
    "kind", [core.int1, core.float8e5, core.uint64, core.pointer_type(core.bfloat16)], ids=str
)
def test_a_number_is_described_as_it_was(kind: Any) -> None:
    def told() -> list[Any]:
        return [described(core.tensor("handle", kind)), interpreter._get_np_dtype(kind)]

    quick, slow = both(told)
    assert quick == slow


@pytest.mark.parametrize("rounding", [None, ROUNDING_MODE.RTZ, ROUNDING_MODE.RTNE])
@pytest.mark.parametrize("has_subnormal", [False, True])
def test_floats_have_the_bits_that_they_had(has_subnormal: bool, rounding: Any) -> None:
    every_half = np.arange(1 << 16, dtype=np.uint16)
    tail = np.random.default_rng(1).integers(0, 1 << 16, 1 << 16, dtype=np.uint32)
    words = (every_half.astype(np.uint32) << 16) | tail
    if not has_subnormal:  # nor anything near: these may go another way together
        every_half = every_half[(every_half & 0x7F80 != 0) | (every_half & 0x7F == 0)]
        words = words[words & 0x7F800000 != 0]
    for bits, given, wanted in (
        (every_half, core.bfloat16, core.float32),
        (words, core.float32, core.bfloat16),
        (words, core.float32, core.float16),
    ):
        for values in (bits, bits[: len(bits) // 8 * 8].reshape(-1, 8).T, bits[:1].reshape(())):

            def told(values: Any = values, given: Any = given, wanted: Any = wanted) -> Any:
                return interpreter._convert_float(values, given, wanted, rounding)

            quick, slow = both(told)
            assert type(quick) is type(slow)
            assert quick.dtype == slow.dtype
            assert quick.shape == slow.shape
            assert np.array_equal(quick, slow)


def test_a_pointer_is_known_by_more_than_its_name() -> None:
    for space in ("global", "shared"):
        pointer = core.pointer_type(core.int8, space)
        assert core.block_type(pointer, [4]).element_ty.address_space == space


@pytest.mark.parametrize("shape", [[3], [64, 0], [2.0], [True, 3], [1 << 21], []])
def test_what_is_no_shape_is_refused_as_it_was(shape: list[Any]) -> None:
    core.block_type(core.int32, [2])

    def told() -> str:
        with pytest.raises((TypeError, ValueError)) as refused:
            core.block_type(core.int32, shape)
        return str(refused.value)

    quick, slow = both(told)
    assert quick == slow


def test_sums_in_64_bits_were_for_debugging_alone() -> None:
    given = next(original for _, name, original in REPLACED if name == "options")
    assert given.sanitize_overflow
    assert not given.debug
    # What they lead to.
    assert interpreter.interpreter_semantic.device_assert(None, "nothing is read", None) is None
