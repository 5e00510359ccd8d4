"""What is done inside the guest, over SmolVM's own SSH: mounting the shares, and asking it to end."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, Protocol

from .._api import missing_filesystems, mount_commands
from ._spec import Mount, shares

# SmolVM gives each of its own mount commands as long.
_PATIENCE = 15

_OPTIONS = {"virtiofs": "CONFIG_FUSE_FS and CONFIG_VIRTIO_FS", "overlay": "CONFIG_OVERLAY_FS"}


class Result(Protocol):
    """`smolvm.types.CommandResult`."""

    @property
    def exit_code(self) -> int: ...
    @property
    def stdout(self) -> str: ...
    @property
    def stderr(self) -> str: ...


class Shell(Protocol):
    """`smolvm.ssh.SSHClient`."""

    def run(self, command: str, timeout: int = ...) -> Result: ...


class NotMounted(Exception):
    """A share is not in its place; what is said is for the user."""

    def __init__(self, message: str, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


def mount(shell: Shell, mounts: Sequence[Mount]) -> None:
    """Puts every share in its place: a writable one as it is, over a read-only one an overlay at SmolVM's paths.

    Raises NotMounted.
    """
    described = shares(mounts)
    _look(shell, overlays=any(share["read_only"] for share in described))
    for share in described:
        result = shell.run(" && ".join(mount_commands(share)), timeout=_PATIENCE)
        if result.exit_code != 0:
            raise NotMounted(
                f"Failed to mount workspace '{share['tag']}' at {share['guest']}: {result.stderr.strip()}",
                {
                    "mount_tag": share["tag"],
                    "exit_code": result.exit_code,
                    "stdout": result.stdout.strip(),
                    "stderr": result.stderr.strip(),
                },
            )


def _look(shell: Shell, *, overlays: bool) -> None:
    """Whether the guest's kernel has the file systems. A kernel built by SmolVM has no modules; others may."""
    missing = _missing(shell, overlays)
    if missing:
        names = " ".join(missing)
        shell.run(f"for name in {names}; do modprobe $name 2>/dev/null; done", timeout=_PATIENCE)
        missing = _missing(shell, overlays)
    if missing:
        options = " and ".join(_OPTIONS[name] for name in missing)
        raise NotMounted(
            f"Cannot mount workspaces: the guest's kernel has no {' and no '.join(missing)}. Name one that has, built with "
            f"{options}, in KRUNDL_SMOLVM_KERNEL ('krundl kernel check VMLINUX --for mounts,overlay' tells), and start the "
            f"sandbox anew, or create it with '--backend qemu'.",
            {"missing_filesystems": missing},
        )


def _missing(shell: Shell, overlays: bool) -> list[str]:
    known = shell.run("cat /proc/filesystems", timeout=_PATIENCE)
    if known.exit_code != 0:
        raise NotMounted(
            f"Cannot mount workspaces: the guest does not tell its file systems: {known.stderr.strip()}",
            {"exit_code": known.exit_code, "stderr": known.stderr.strip()},
        )
    return [name for name in missing_filesystems(known.stdout) if name != "overlay" or overlays]


# For a server's first word, in seconds; a guest may be slow.
_FIRST_WORD = 2.0


def answers(host: str, port: int, timeout: float) -> bool:
    """Whether an SSH server is there: SmolVM's own question, asked by whoever speaks first.

    The passt of Debian 12 (of March 2023) finishes a connection to the guest with the first thing that the host sends, so
    that a server that waits for its client, and a client that waits for its server, wait for ever. In SSH both may begin.
    """
    if timeout <= 0:
        return False
    try:
        with socket.create_connection((host, port), timeout=timeout) as connection:
            connection.settimeout(max(timeout, _FIRST_WORD))
            connection.sendall(b"SSH-2.0-krundl\r\n")
            return connection.recv(32).startswith(b"SSH-")
    except OSError:
        return False


END = (
    # Out of the session's reach, which ends with the network.
    "(trap '' HUP TERM; kill -TERM -1; sleep 0.3; sync;"
    # All file systems if the kernel can do that at once, else the root.
    " echo u > /proc/sysrq-trigger || mount -o remount,ro /;"
    " reboot -f || echo b > /proc/sysrq-trigger) </dev/null >/dev/null 2>&1 &"
)
"""Ends the guest: everything in it is asked to end, its disks are written out and made read-only, and it restarts. That
is what libkrun ends with; a guest that powers off goes on running on x86-64."""


def ask_to_end(shell: Shell, timeout: float) -> None:
    """Asks the guest to end. Whether it does is seen by its process."""
    shell.run(END, timeout=max(1, int(timeout)))
