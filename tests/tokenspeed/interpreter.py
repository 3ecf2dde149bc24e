"""Makes Triton's interpreter quicker where it repeats itself; what kernels compute stays the same.

A kernel of a small model does little arithmetic: most of its time goes into describing the type of
every value anew. Nothing of ours is known here.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import triton.language as tl
from triton.language import core
from triton.runtime import interpreter

# What was there before: owner, name, value. Tests put it back, and see the same.
REPLACED: list[tuple[Any, str, Any]] = []


def quicken() -> None:
    """Replace what the interpreter repeats; once for a process, before kernels run.

    Raises:
        AttributeError, TypeError: Triton has changed, and has it no more.
    """
    _replace(interpreter.InterpretedFunction, "__call__", _patching_once)
    _replace(core.block_type, "__init__", _block_types_kept)
    _replace(core.tensor, "__init__", _shapes_kept)
    _replace(interpreter, "_get_np_dtype", _numpy_types_kept)
    _replace(interpreter, "_convert_float", _halves_taken)
    # Each sum of integers is made in 64 bits too, for an assertion that only `debug` looks at.
    builder = interpreter.interpreter_builder
    _replace(builder, "options", lambda given: replace(given, sanitize_overflow=given.debug))


def _replace(owner: Any, name: str, by: Any) -> None:
    original = getattr(owner, name)
    REPLACED.append((owner, name, original))
    setattr(owner, name, by(original))


def _patching_once(_: Any) -> Any:
    # Triton patches its language anew at each inner call, which makes these tests twenty times
    # slower. Kernels get it with the launch; its own library, which nothing undoes, needs it once.
    patched: set[int] = set()

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        names = self.fn.__globals__
        if id(names) not in patched:
            if tl not in [v for v in names.values() if type(v) is type(tl)]:
                interpreter._patch_lang(self.fn)
            patched.add(id(names))
        return self.rewrite()(*args, **kwargs)

    return call


def _block_types_kept(describe: Any) -> Any:
    known: dict[Any, dict[str, Any]] = {}

    def block_type(self: Any, element_ty: Any, shape: Any) -> None:
        sizes = shape.values if type(shape) is core.tuple else shape
        sizes = [size.value if type(size) is core.constexpr else size for size in sizes]
        # Sizes that are refused may equal others that are not, as 2.0 does.
        key = (element_ty.name, *sizes) if {*map(type, sizes)} == {int} else None
        if key in known:
            vars(self).update(known[key])
            self.element_ty = element_ty  # pointers that have one name may differ
        else:
            describe(self, element_ty, shape)
            if key is not None:
                known[key] = vars(self).copy()

    return block_type


def _shapes_kept(describe: Any) -> Any:
    known: dict[str, dict[str, Any]] = {}

    def tensor(self: Any, handle: Any, type: Any) -> None:
        name = type.name  # tells the shape
        if name in known:
            vars(self).update(known[name], handle=handle, type=type, dtype=type.scalar)
        else:
            describe(self, handle, type)
            known[name] = {"shape": self.shape, "numel": self.numel}

    return tensor


def _numpy_types_kept(look_up: Any) -> Any:
    known: dict[str, np.dtype[Any]] = {}

    def numpy_type(type: Any) -> np.dtype[Any]:
        name = type.scalar.name
        if name not in known:
            known[name] = look_up(type.scalar)
        return known[name]

    return numpy_type


def _halves_taken(convert: Any) -> Any:
    # Triton takes any two formats apart, in thirty passes. A bfloat16 is the upper half of a
    # float32, and Triton cuts the lower one off where it is told no rounding.
    def convert_float(values: Any, given: Any, wanted: Any, rounding: Any) -> Any:
        if rounding is None and {given, wanted} == {core.bfloat16, core.float32}:
            bits = np.ascontiguousarray(values).view(f"u{values.itemsize}")
            magnitudes = bits << bits.dtype.type(1)  # without the sign
            least = 1 << given.fp_mantissa_width + 1
            # Of numbers below the least normal one, Triton makes something else.
            if not ((magnitudes < least) & (magnitudes != 0)).any():
                if wanted == core.float32:
                    found = bits.astype(np.uint32) << np.uint32(16)
                else:
                    found = (bits >> np.uint32(16)).astype(np.uint16)
                return found.reshape(values.shape)
        return convert(values, given, wanted, rounding)

    return convert_float
