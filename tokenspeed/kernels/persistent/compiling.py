"""The kernel compiled for Hopper without a GPU."""

from collections.abc import Iterator
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.experimental.gluon._runtime import GluonASTSource

from tokenspeed.kernels.embedding import Begin
from tokenspeed.kernels.exchange import Peers
from tokenspeed.kernels.lm_head import HeadScratch
from tokenspeed.kernels.persistent.arguments import (
    Buffers,
    Family,
    Outputs,
    Plan,
    Residual,
    Tables,
    Words,
)
from tokenspeed.kernels.persistent.kernel import persistent_kernel
from tokenspeed.kernels.persistent.layouts import (
    FLOAT_BLOCK,
    SCALE_BLOCK,
    WORD_BLOCK,
    WORD_BLOCK_SHAPE,
)
from tokenspeed.kernels.persistent.sizes import MATRICES, TILE
from tokenspeed.kernels.slots import Cache, Places


def signature_of(plan: Plan) -> dict[str, Any]:
    """Return Triton's types of the kernel's arguments by their names, in their order."""
    half, panel = ("bf16", FLOAT_BLOCK) if plan.form == "bf16" else ("fp16", WORD_BLOCK)
    block = f"bf16[{TILE}, 64]" if plan.form == "bf16" else f"i16{WORD_BLOCK_SHAPE}"
    scales = f"tensordesc<i32[1, {TILE}],{SCALE_BLOCK!r}>" if plan.form == "int4" else "*fp32"
    halves = f"*{half}"
    return {
        **dict.fromkeys(
            ("w_qkv", "w_out", "w_gate_up", "w_down", "w_head"), f"tensordesc<{block},{panel!r}>"
        ),
        **dict.fromkeys(("s_qkv", "s_out", "s_gate_up", "s_down", "s_head"), scales),
        **dict.fromkeys(
            ("x_scaled", "x_values", "x_inner"),
            f"tensordesc<{half}[{plan.width}, 64],{FLOAT_BLOCK!r}>",
        ),
        "tokens_ptr": "*i32",
        "places": Places("*i32", "*i32"),
        "outputs": Outputs("*i32", "*i32", "*i32"),
        "begin": Begin(*["*i32"] * 6),
        "tables": Tables("*fp32", "*fp32", halves, halves),
        "family": Family(
            **{
                f"{name}_bias": "*fp32" if name in plan.biases else "constexpr" for name in MATRICES
            },
            ropes="*i32" if plan.ropes > 1 else "constexpr",
            head_norms="*fp32" if plan.head_norm else "constexpr",
        ),
        "residual": Residual("*fp32", halves, "*i64"),
        "buffers": Buffers(halves, halves, halves),
        "cache": Cache(halves, halves),
        "head": HeadScratch("*fp32", "*i32", "*fp32", "*fp32"),
        "logits_ptr": "*fp32",
        "parts_ptr": "*fp32",
        "counters_ptr": "*i32",
        "words": Words(*["*i32"] * 4, *["*i64"] * 3),
        "peers": Peers("*i64", "*i32", "*i32", "*i32"),
        "rank": "i32",
        "first_token": "i32",
        "layers": "i32",
        "max_rows": "i32",
        "in_flight": "i32",
        "in_flight_down": "i32",
        "in_flight_head": "i32",
        "PLAN": "constexpr",
    }


def compile_step(plan: Plan) -> Any:
    """Compile the kernel for sm_90; return Triton's compiled kernel."""
    return compile_for_hopper(persistent_kernel, signature_of(plan), plan, 4)


def compile_for_hopper(kernel: Any, signature: dict[str, Any], plan: Any, num_warps: int) -> Any:
    """Compile a Gluon kernel for sm_90; return Triton's compiled kernel.

    Args:
        signature: types of the arguments, the last of which is the plan.
    """
    leaves = dict(leaf for i, kind in enumerate(signature.values()) for leaf in _leaves(kind, (i,)))
    absent = dict.fromkeys(path for path, kind in leaves.items() if kind == "constexpr")
    source = GluonASTSource(
        kernel,
        signature,
        absent | {(len(signature) - 1,): plan},
        {path: [["tt.divisibility", 16]] for path, kind in leaves.items() if kind[0] == "*"},
    )
    options = {"num_warps": num_warps, "enable_fp_fusion": False}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


def _leaves(kind: Any, path: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yield the paths of what an argument consists of, and their types."""
    if isinstance(kind, tuple):
        for i, part in enumerate(kind):
            yield from _leaves(part, (*path, i))
    else:
        yield path, kind
