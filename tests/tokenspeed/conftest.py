"""Runs the kernels on Triton's interpreter where there is no GPU; set before their import."""

import os
from typing import Any

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
    import triton.language as tl
    from triton.runtime import interpreter

    patched: set[int] = set()

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        names = self.fn.__globals__
        if id(names) not in patched:
            if tl not in [v for v in names.values() if type(v) is type(tl)]:
                interpreter._patch_lang(self.fn)
            patched.add(id(names))
        return self.rewrite()(*args, **kwargs)

    # Triton patches its language anew at each inner call, which makes these tests twenty times
    # slower. Kernels get it with the launch; its own library, which nothing undoes, needs it once.
    interpreter.InterpretedFunction.__call__ = call
