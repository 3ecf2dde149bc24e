"""The kernel compiled for Hopper without a GPU."""

from typing import Any

from tokenspeed.kernels.embedding import Begin
from tokenspeed.kernels.lm_head import HeadScratch
from tokenspeed.kernels.persistent.arguments import Outputs, Tables
from tokenspeed.kernels.persistent.compiling import compile_for_hopper
from tokenspeed.kernels.slots import Cache, Places
from tokenspeed.kernels.small.arguments import WARPS, Matrices, SmallPlan, SmallWords
from tokenspeed.kernels.small.kernel import PANEL_BLOCK, small_kernel
from tokenspeed.kernels.small.products import PANEL


def signature_of(plan: SmallPlan) -> dict[str, Any]:
    """Return Triton's types of the kernel's arguments by their names, in their order."""
    block = [1, plan.hidden // 64, PANEL.value, 32]
    return {
        "w_head": f"tensordesc<i16{block},{PANEL_BLOCK!r}>",
        "matrices": Matrices(*["*i16"] * 4, *["*fp32"] * 5),
        "tokens_ptr": "*i32",
        "places": Places("*i32", "*i32"),
        "outputs": Outputs("*i32", "*i32", "*i32"),
        "begin": Begin(*["*i32"] * 6),
        "tables": Tables("*fp32", "*fp32", "*fp16", "*fp16"),
        "cache": Cache("*fp16", "*fp16"),
        "head": HeadScratch("*fp32", "*i32", "*fp32", "*fp32"),
        "logits_ptr": "*fp32",
        "words": SmallWords(step="*i32", heads="*i32", parts="*i64", inner="*i32", hidden="*i64"),
        "layers": "i32",
        "PLAN": "constexpr",
    }


def compile_small(plan: SmallPlan) -> Any:
    """Compile the kernel for sm_90; return Triton's compiled kernel."""
    return compile_for_hopper(small_kernel, signature_of(plan), plan, WARPS)
