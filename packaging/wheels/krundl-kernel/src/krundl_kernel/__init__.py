"""A kernel for guests: `krundl.bundled_kernel()` finds it by its place and does not import this.

`python -m krundl_kernel` prints the kernel's path, for `krundl run --kernel`.
"""

from __future__ import annotations

from pathlib import Path


def kernel() -> Path:
    """The kernel's file, a vmlinux."""
    return Path(__file__).resolve().parent / "vmlinux"


def config() -> Path:
    """The configuration that it was built with."""
    return Path(__file__).resolve().parent / "config"
