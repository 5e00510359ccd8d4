"""What the packages krundl-libkrun and krundl-kernel bring along: found by a look at files, without importing them."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._spec import Kernel


def libkrun() -> str | None:
    """The directory with krundl-libkrun's library, where that is installed."""
    return _directory("krundl_libkrun", "libkrun.so.1")


def _directory(package: str, file: str) -> str | None:
    # Beside krundl first, which is where pip puts it.
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for place in (own, *sys.path):
        directory = os.path.join(place, package)
        # The current directory is never searched.
        if os.path.isabs(place) and os.path.isfile(os.path.join(directory, file)):
            return directory
    return None


def bundled_kernel() -> Kernel:
    """The kernel that the package krundl-kernel brings, for `VmSpec(kernel=...)`: with it a guest needs no libkrunfw.

    Raises InvalidArgument where that package is not installed.
    """
    directory = _directory("krundl_kernel", "vmlinux")
    if directory is None:
        from ._errors import InvalidArgument

        raise InvalidArgument("the package krundl-kernel is not installed; fix: pip install 'krundl[bundled]'")
    from ._spec import Kernel

    return Kernel(path=os.path.join(directory, "vmlinux"))
