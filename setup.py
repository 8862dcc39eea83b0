"""The part of the build that setup.cfg cannot say: inner loops in C, built where it is possible."""

import sys
from pathlib import Path

from setuptools import Extension, setup

SOURCES = Path("ecogsource/buffers/storage/csrc")
# Results must not depend on the machine: no multiplication is fused with an addition.
FLAGS = (
    [] if sys.platform == "win32" else ["-O3", "-funroll-loops", "-std=c11", "-ffp-contract=off"]
)

setup(
    ext_modules=[
        Extension(
            "ecogsource.buffers.storage._loops",
            [(SOURCES / "module.c").as_posix()],
            depends=[path.as_posix() for path in sorted(SOURCES.glob("*.h"))],
            extra_compile_args=FLAGS,
            # Without a compiler the package installs all the same, and NumPy does that work.
            optional=True,
        )
    ]
)
