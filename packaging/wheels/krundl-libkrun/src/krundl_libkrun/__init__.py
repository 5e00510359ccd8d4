"""The real libkrun. krundl finds it by its place, after the system's and the user's own, and does not import this.

`python -m krundl_libkrun` prints the library's path.
"""

from __future__ import annotations

from pathlib import Path


def library() -> Path:
    """The library's file."""
    return Path(__file__).resolve().parent / "libkrun.so.1"
