"""Names of Gluon that Triton has changed between 3.6 and 3.9, under one name each."""

from typing import Any

from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language._core import builtin
from triton.experimental.gluon.language.nvidia.hopper import tma

# A barrier of all threads of a partition. 3.6: thread_barrier; 3.7 and later: barrier.
barrier: Any = getattr(gl, "thread_barrier", None) or gl.barrier
# Copy a block to shared memory and tell an mbarrier. Before 3.9: async_copy_global_to_shared.
tma_load: Any = getattr(tma, "async_load", None) or tma.async_copy_global_to_shared


@builtin
def reinterpret(memory: Any, dtype: Any, shape: Any, layout: Any, _semantic: Any = None) -> Any:
    """Return the same shared memory in another shape. Before 3.9: _reinterpret."""
    method = getattr(memory, "reinterpret", None) or memory._reinterpret
    return method(dtype, shape, layout, _semantic=_semantic)
