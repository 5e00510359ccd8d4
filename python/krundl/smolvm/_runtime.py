"""Running SmolVM's VMs: what its runtime adapter for libkrun does, with krundl.

Nothing of SmolVM is imported here; `_install` makes its adapter of this.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import signal
import subprocess
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from .. import _api
from .._errors import Error, TimedOut
from ._process import Process
from ._spec import Config, Network, vm_spec

if TYPE_CHECKING:
    from .._vm import Vm

logger = logging.getLogger("krundl.smolvm")

KERNEL = "KRUNDL_SMOLVM_KERNEL"
"""A variable that names the kernel of all VMs, instead of the one that comes with their image."""

# How long libkrun may take until it is entered, in seconds: it takes milliseconds.
_ENTERED = 30.0
# How long SmolVM waits to see whether a VM dies at once, in seconds.
SETTLES = 0.5
# What of the log goes into an error, in bytes.
_TAIL = 2000


class Info(Protocol):
    """`smolvm.types.VMInfo`."""

    @property
    def vm_id(self) -> str: ...
    @property
    def config(self) -> Config: ...
    @property
    def network(self) -> Network | None: ...
    @property
    def pid(self) -> int | None: ...


class Context(Protocol):
    """`smolvm.runtime.base.RuntimeContext`."""

    @property
    def socket_dir(self) -> Path: ...
    @property
    def process_handles(self) -> MutableMapping[int, Any]: ...
    @property
    def resolve_boot_args(self) -> Callable[[Any], str]: ...
    @property
    def kill_process(self) -> Callable[[int], None]: ...
    @property
    def wait_for_process(self) -> Callable[[int, float], None]: ...
    @property
    def is_process_running(self) -> Callable[[int], bool]: ...


class NotStarted(Exception):
    """The VM does not run; what is said is for the user."""

    def __init__(self, message: str, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


def start(context: Context, info: Info, log: Path, settles: float) -> Process:
    """Starts the VM, sees whether it lives for so many seconds, and lets it go. Raises NotStarted."""
    try:
        with _fresh(log) as output:
            vm = _api.launch(_spec(context, info, log), **_options(output, log))
        try:
            status: int | None = vm.wait(settles)
        except TimedOut:
            status = None
    except Error as error:
        raise _not_started(info, error, log) from error
    if status is not None:
        raise _ended(info, status, log)
    return _let_go(context, info, vm)


async def start_async(context: Context, info: Info, log: Path, settles: float) -> Process:
    """As `start`, on asyncio and without threads."""
    try:
        with _fresh(log) as output:
            vm = await _api.launch_async(_spec(context, info, log), **_options(output, log))
        try:
            status: int | None = await vm.wait_async(settles)
        except TimedOut:
            # What waited goes with the exception, and after that the VM can be let go.
            status = None
        except BaseException:
            vm.close()
            raise
    except Error as error:
        raise _not_started(info, error, log) from error
    if status is not None:
        raise _ended(info, status, log)
    return _let_go(context, info, vm)


def stop(context: Context, info: Info, timeout: float) -> bool:
    """Ends the VM's process, which ends the guest at once: whoever can reach the guest has asked it before. Returns
    whether it has ended."""
    pid = info.pid
    if pid and context.is_process_running(pid):
        if not _is_a_vm(pid):
            logger.warning("process %d is not the VM '%s' any more; it is left alone", pid, info.vm_id)
        else:
            _terminate(pid)
            context.wait_for_process(pid, min(timeout, 2.0))
            if context.is_process_running(pid):
                context.kill_process(pid)
                context.wait_for_process(pid, max(timeout, 1.0))
            if context.is_process_running(pid):
                return False
    _remove_socket(context, info)
    return True


def socket_of(context: Context, info: Info) -> Path | None:
    """Where the host reaches the guest's agent, at the place that SmolVM has for Firecracker."""
    vsock = info.config.vsock
    if vsock is None:
        return None
    return Path(vsock.uds_path) if vsock.uds_path else context.socket_dir / f"vsock-{info.vm_id}.sock"


def listeners(socket: Path) -> dict[int, Path]:
    """The sockets of the host that the guest may reach, named as Firecracker has it: the agent's socket, `_`, the port."""
    found = {}
    name = re.compile(re.escape(socket.name) + r"_([0-9]{1,10})\Z")
    if socket.parent.is_dir():
        for path in socket.parent.iterdir():
            match = name.match(path.name)
            if match and path.is_socket():
                found[int(match.group(1))] = path
    return found


def _spec(context: Context, info: Info, log: Path) -> dict[str, Any]:
    socket = socket_of(context, info)
    if socket is not None:
        socket.parent.mkdir(parents=True, exist_ok=True)
        _remove_socket(context, info)
        cid = info.config.vsock.guest_cid if info.config.vsock is not None else 3
        if cid != 3:
            logger.info("VM '%s': with libkrun the guest's own vsock address is 3, not %d", info.vm_id, cid)
    return vm_spec(
        info.config,
        info.network,
        cmdline=context.resolve_boot_args(info),
        log=log,
        socket=socket,
        listeners={} if socket is None else listeners(socket),
        kernel=os.environ.get(KERNEL) or None,
        system=platform.system(),
    )


def _fresh(log: Path) -> IO[bytes]:
    """The log, emptied as SmolVM does with each start. All add to its end: the kernel's log, libkrun's and passt's."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb"):
        pass
    return open(log, "ab")


def _options(output: IO[bytes], log: Path) -> dict[str, Any]:
    return {
        "stdin": subprocess.DEVNULL,
        "stdout": output,
        "stderr": output,
        "log": log,
        "new_session": True,
        "start_timeout": _ENTERED,
    }


def _let_go(context: Context, info: Info, vm: Vm) -> Process:
    """The VM outlives this process, as SmolVM's commands expect; SmolVM reaps it if it is still there."""
    process = Process(vm.detach(), ["krundl-vmm", info.vm_id])
    context.process_handles[process.pid] = process
    logger.debug("started libkrun for VM '%s': process %d", info.vm_id, process.pid)
    return process


def _not_started(info: Info, error: Error, log: Path) -> NotStarted:
    return NotStarted(
        f"Cannot start sandbox '{info.vm_id}' with libkrun: {error.message}{_end_of(log)}",
        {"vm_id": info.vm_id, "code": error.code, "name": error.name, "log_path": str(log), **error.details},
    )


def _ended(info: Info, status: int, log: Path) -> NotStarted:
    return NotStarted(
        f"VM '{info.vm_id}' failed to start: it ended at once, with {status}.{_end_of(log)}\n"
        f"Run 'smolvm sandbox delete {info.vm_id}' to remove it.",
        {"vm_id": info.vm_id, "return_code": status, "log_path": str(log)},
    )


def _end_of(log: Path) -> str:
    tail = _tail(log)
    return f"\nThe end of {log}:\n{tail}" if tail else ""


def _tail(log: Path) -> str:
    try:
        with open(log, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


def _is_a_vm(pid: int) -> bool:
    """Numbers of processes come again, and this one was written down by an earlier process, perhaps before a restart."""
    try:
        program = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        # Not to be seen by this user, or no Linux: as SmolVM has it, the number counts.
        return True
    return os.path.basename(program).removesuffix(" (deleted)") == "krundl-vmm"


def _terminate(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except (ProcessLookupError, PermissionError):
        # Gone; or somebody else's, whom SmolVM kills with sudo.
        pass


def _remove_socket(context: Context, info: Info) -> None:
    """libkrun makes the agent's socket and leaves it."""
    socket = socket_of(context, info)
    if socket is not None and socket.is_socket():
        socket.unlink(missing_ok=True)
