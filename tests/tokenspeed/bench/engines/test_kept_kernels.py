"""A kernel is known again as long as nothing that its binary depends on has changed."""

from dataclasses import replace
from pathlib import Path

import pytest

from tokenspeed.bench.engines import kept_kernels
from tokenspeed.bench.engines.kept_kernels import Needs, code_of, digest_of, read, write
from tokenspeed.kernels.compile import Job

JOB = Job("tokenspeed.kernels.qkv", "qkv_kernel", (("x", "*bf16"),), ((0,),), (), (("n", 64),))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    assert read(path) == {}
    kept = {"b": Needs(40, 1024, 0), "a": Needs(32, 0, 8)}
    write(path, kept)
    assert read(path) == kept
    assert len(path.read_text().splitlines()) == 4


def test_comments_and_docstrings_are_no_code() -> None:
    plain = code_of("def f(x):\n    return x + 1\n")
    assert code_of('"""M."""\n\n# c\ndef f(x):\n    """F."""\n    return x + 1  # d\n') == plain
    assert code_of("def f(x):\n    return x + 2\n") != plain


@pytest.mark.parametrize(
    "changed",
    [
        {"kernel": "other"},
        {"constants": (("n", 128),)},
        {"types": (("x", "*fp16"),)},
        {"aligned": ()},
    ],
)
def test_another_job_has_another_digest(changed: dict[str, object]) -> None:
    assert digest_of("sm_90", replace(JOB, **changed)) != digest_of("sm_90", JOB)  # type: ignore[arg-type]


def test_another_target_version_or_code_has_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest_of("sm_90", JOB)
    assert digest_of("sm_80", JOB) != before
    with monkeypatch.context() as patch:
        patch.setattr("triton.__version__", "0")
        assert digest_of("sm_90", JOB) != before
    code = kept_kernels.module_code
    # Modules count that the kernel's own imports, directly or not.
    for module, counts in (("arithmetic", True), ("split_k", True), ("persistent.kernel", False)):
        name = f"tokenspeed.kernels.{module}"
        with monkeypatch.context() as patch:
            patch.setattr(kept_kernels, "module_code", lambda m, n=name: code(m) + "x" * (m == n))
            assert (digest_of("sm_90", JOB) != before) == counts, module
    assert digest_of("sm_90", JOB) == before
