"""SmolVM's libkrun backend, with krundl behind it.

>>> import krundl.smolvm
>>> krundl.smolvm.install()  # doctest: +SKIP

From then on, and in this process, `smolvm` runs its libkrun VMs through krundl: directories of the host can be mounted in
them, they have a network on Linux, and what this machine or this libkrun cannot do is said, with what would mend it.
`python -m krundl.smolvm ARGS...` is the command `smolvm` with that done. It takes SmolVM (`pip install 'krundl[smolvm]'`),
which is imported by `install` and not before.
"""

from __future__ import annotations

from ._install import KNOWN, UnknownSmolVM, install, installed, uninstall
from ._spec import vm_spec

__all__ = ["KNOWN", "UnknownSmolVM", "install", "installed", "uninstall", "vm_spec"]
