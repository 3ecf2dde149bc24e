"""Builds the native CPU kernels where there is a compiler; without one the package still installs.

Says too where the packages are. Everything else about the package is in pyproject.toml.
"""

import platform
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

NATIVE = Path("tokenspeed/native")
COMMON = ["-O3", "-std=c++17", "-fvisibility=hidden", "-pthread", "-Wall", "-Wno-psabi"]
# Without contraction every instruction set rounds the same way, and gives the same tokens.
KERNELS = [*COMMON, "-ffp-contract=off", "-fno-strict-aliasing", "-fno-math-errno"]
ISA_FLAGS = {
    "plain": [],
    "avx2": ["-mavx2", "-mf16c"],
    "avx512": [
        *("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni"),
        "-mprefer-vector-width=512",
    ],
    "neon": ["-march=armv8.2-a+dotprod"],
}
ISAS = {
    "x86_64": ("avx2", "avx512"),
    "amd64": ("avx2", "avx512"),
    "aarch64": ("neon",),
    "arm64": ("neon",),
}


class BuildNative(build_ext):
    """Compiles the kernels once for each instruction set that is chosen from at run time."""

    def build_extension(self, ext: Extension) -> None:
        objects = []
        for isa in ("plain", *ISAS.get(platform.machine().lower(), ())):
            objects += self.compiler.compile(
                [str(NATIVE / "kernels.cpp")],
                output_dir=f"{self.build_temp}/{isa}",
                macros=[("TOKENSPEED_ISA", isa)],
                extra_postargs=[*KERNELS, *ISA_FLAGS[isa]],
                depends=ext.depends,
            )
        ext.extra_objects = objects
        super().build_extension(ext)


setup(
    # The page's files are data of the service; only a checkout has them in a folder of their own.
    packages=[*find_packages(include=["tokenspeed*", "service*"]), "service.page"],
    package_dir={"service.page": "web"},
    ext_modules=[
        Extension(
            "tokenspeed.native._step",
            sources=[str(NATIVE / "step.cpp"), str(NATIVE / "bandwidth.cpp")],
            depends=[
                str(NATIVE / name) for name in ("kernels.h", "kernels.cpp", "pool.h", "step.h")
            ],
            extra_compile_args=COMMON,
            extra_link_args=["-pthread"],
            language="c++",
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildNative},
)
