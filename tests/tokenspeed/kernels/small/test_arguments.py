"""Groups of arguments become tuples of Triton's own in a kernel, and keep their names there."""

from typing import Any

import pytest
import triton.language as tl

from tokenspeed.kernels.small import arguments

GROUPS = [each for each in vars(arguments).values() if hasattr(each, "_fields")]


@pytest.mark.parametrize("group", GROUPS)
def test_a_field_is_not_hidden_by_what_such_a_tuple_has_itself(group: Any) -> None:
    like = tl.core.tuple([tl.constexpr(0)])
    assert not [name for name in group._fields if name in dir(like)]
