"""What is compiled without a GPU has the kernel's own parameters; test_compiled.py compiles it."""

from collections import defaultdict

import pytest

from tokenspeed.backends.cuda_persistent import plan_of
from tokenspeed.bench.engines.shapes import SHAPES
from tokenspeed.kernels.persistent.compiling import signature_of
from tokenspeed.kernels.persistent.kernel import persistent_kernel


@pytest.mark.parametrize("form", ["bf16", "int8", "int4"])
def test_the_signature_names_every_parameter_in_its_order(form: str) -> None:
    signature = signature_of(plan_of(SHAPES["llama-3-8b"], form, 1, 512, 16))
    assert list(signature) == persistent_kernel.arg_names
    scales = "*fp32" if form != "int4" else "tensordesc<i32[1, 128]"
    assert signature["s_down"].startswith(scales)
    assert f"[{8}, 64]" in signature["x_scaled"]


def test_constants_of_one_name_have_one_value() -> None:
    """Triton's key of a kernel takes them in the order of addresses: it would differ by process."""
    assert persistent_kernel.cache_key
    found = defaultdict[str, set[str]](set)
    for (name, _), (value, _) in persistent_kernel.used_global_vals.items():
        found[name].add(str(value))
    assert found
    assert [name for name, values in found.items() if len(values) > 1] == []
