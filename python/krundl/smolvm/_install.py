"""Puts krundl behind SmolVM's libkrun backend, at its own joints."""

from __future__ import annotations

import asyncio
import functools
import inspect
import platform
import time
from collections.abc import Callable
from importlib import import_module, metadata
from typing import Any

from .._errors import Error
from . import _guest, _judge, _runtime
from ._spec import PASST_NETWORK

KNOWN = ("0.0.36",)
"""The versions of SmolVM that this was made for and tested with."""


class UnknownSmolVM(ImportError):
    """SmolVM is missing, or one that krundl does not know, or on a system where krundl does less than SmolVM itself."""


# What is replaced, and the parameters that it must have, if it is called: where, name, parameters.
_SEAMS: tuple[tuple[str, str, tuple[str, ...] | None], ...] = (
    ("smolvm.vm", "_USERNET_ADDRESSES", None),
    ("smolvm.runtime._libkrun_ffi", "is_available", ()),
    ("smolvm.runtime.backends", "libkrun_status", ()),
    ("smolvm.runtime.backends", "_qemu_missing_message", ("has_system", "has_img")),
    ("smolvm.host.doctor", "generate_doctor_report", ("backend",)),
    ("smolvm.vm", "LibkrunRuntimeAdapter", ("context",)),
    ("smolvm.vm:SmolVMManager", "create", ("self", "config")),
    ("smolvm.vm:SmolVMManager", "async_create", ("self", "config")),
    ("smolvm.facade:SmolVM", "_new_ssh_client", ("self", "host", "port", "key_path", "connect_timeout")),
    ("smolvm.ssh:SSHClient", "_tcp_port_open", ("self", "timeout")),
    ("smolvm.facade:SmolVM", "_mount_workspaces", ("self",)),
    ("smolvm.facade:SmolVM", "stop", ("self", "timeout")),
    ("smolvm.facade:SmolVM", "async_stop", ("self", "timeout")),
)

_originals: dict[tuple[str, str], Any] = {}


def install(*, any_version: bool = False) -> None:
    """Puts krundl behind SmolVM's libkrun backend, in this process. Other backends stay as they are. Doing it again does
    nothing.

    Raises UnknownSmolVM on other systems than Linux, and where SmolVM is missing, is a version that krundl does not know, or is not put together as that
    version. With `any_version` another version is tried, as long as it is put together alike.
    """
    if _originals:
        return
    if platform.system() != "Linux":
        raise UnknownSmolVM(
            "krundl.smolvm is for Linux: elsewhere SmolVM's own libkrun backend brings a network by gvproxy, which krundl "
            "does not start"
        )
    version = _version()
    if version not in KNOWN and not any_version:
        raise UnknownSmolVM(
            f"SmolVM {version} is installed, and krundl knows {', '.join(KNOWN)}: pip install 'smolvm=={KNOWN[-1]}', "
            "or take a krundl that knows it; install(any_version=True) or 'python -m krundl.smolvm --any-version' tries "
            "it all the same"
        )
    found = {(where, name): _found(where, name, parameters, version) for where, name, parameters in _SEAMS}
    replacements = _replacements(found)
    for (where, name), value in replacements.items():
        setattr(_place(where), name, value)
    _originals.update(found)


def uninstall() -> None:
    """Takes it back: SmolVM is as it was. VMs that run stay."""
    for (where, name), value in _originals.items():
        setattr(_place(where), name, value)
    _originals.clear()


def installed() -> bool:
    """Whether krundl is behind SmolVM's libkrun backend in this process."""
    return bool(_originals)


def _version() -> str:
    try:
        return metadata.version("smolvm")
    except metadata.PackageNotFoundError:
        raise UnknownSmolVM(
            f"SmolVM is not installed: pip install 'krundl[smolvm]', or 'smolvm=={KNOWN[-1]}', which takes Python 3.11"
        ) from None


def _place(where: str) -> Any:
    module, _, attribute = where.partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


def _found(where: str, name: str, parameters: tuple[str, ...] | None, version: str) -> Any:
    """What is there, if it takes what it should."""
    try:
        value = getattr(_place(where), name)
        if parameters is None:
            return value
        has = tuple(inspect.signature(value).parameters)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
    else:
        if has == parameters:
            return value
        reason = f"it takes ({', '.join(has)}) and not ({', '.join(parameters)})"
    raise UnknownSmolVM(
        f"SmolVM {version} is not put together as krundl knows it: {where.replace(':', '.')}.{name}: {reason}; "
        f"pip install 'smolvm=={KNOWN[-1]}'"
    )


def _replacements(originals: dict[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
    manager, facade = "smolvm.vm:SmolVMManager", "smolvm.facade:SmolVM"
    create, async_create = originals[manager, "create"], originals[manager, "async_create"]
    mount, stop, async_stop = (originals[facade, name] for name in ("_mount_workspaces", "stop", "async_stop"))
    probe = originals["smolvm.ssh:SSHClient", "_tcp_port_open"]
    report = originals["smolvm.host.doctor", "generate_doctor_report"]
    adapter = originals["smolvm.vm", "LibkrunRuntimeAdapter"]
    made = (
        _addresses(originals["smolvm.vm", "_USERNET_ADDRESSES"]),
        _is_available,
        _libkrun_status,
        _qemu_missing_message(originals["smolvm.runtime.backends", "_qemu_missing_message"]),
        _doctor_report(report),
        _adapter(adapter),
        _create(create),
        _async_create(async_create),
        _new_ssh_client(originals[facade, "_new_ssh_client"]),
        # Only its parameters matter: it is replaced for the clients of libkrun's guests.
        probe,
        _mount_workspaces(mount),
        _stop(stop),
        _async_stop(async_stop),
    )
    return {(where, name): value for (where, name, _), value in zip(_SEAMS, made, strict=True)}


def _addresses(original: dict[str, tuple[str, str, str]]) -> dict[str, tuple[str, str, str]]:
    """What SmolVM writes down for a new VM, and puts on its kernel's command line."""
    return {**original, "libkrun": PASST_NETWORK}


# Availability and doctor.


def _verdict() -> _judge.Verdict:
    return _judge.verdict(_judge.look())


def _is_available() -> bool:
    """Whether there is a libkrun that can do what SmolVM's VMs take. It never raises."""
    return _verdict().library


def _libkrun_status() -> Any:
    """Whether SmolVM's VMs run with libkrun on this machine, and if not, what would mend it."""
    backends = import_module("smolvm.runtime.backends")
    verdict = _verdict()
    return backends.BackendStatus(verdict.runs, verdict.library, verdict.message)


def _qemu_missing_message(original: Callable[..., str]) -> Callable[..., str]:
    """SmolVM takes QEMU where folders are to be shared and nothing else is said. Where that is missing and libkrun runs
    guests, libkrun is offered."""

    @functools.wraps(original)
    def qemu_missing_message(*, has_system: bool, has_img: bool) -> str:
        message = original(has_system=has_system, has_img=has_img)
        if _verdict().runs:
            message += " Or use libkrun, which runs guests on this machine and shares folders, too: '--backend libkrun'."
        return message

    return qemu_missing_message


# What SmolVM judges by itself for libkrun, and krundl knows better.
_JUDGED_HERE = frozenset({_judge.LIBRARY, "kvm"})


def _doctor_report(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def generate_doctor_report(backend: str | None = None) -> Any:
        report = original(backend)
        if report.backend_resolved != "libkrun":
            return report
        doctor = import_module("smolvm.host.doctor")
        checks = [
            doctor.DoctorCheck(name=finding.name, status=finding.status, detail=finding.detail, fix=finding.fix)
            for finding in _judge.findings(_judge.look())
        ]
        checks += [check for check in report.checks if check.name not in _JUDGED_HERE]
        return doctor.DoctorReport(
            backend_requested=report.backend_requested,
            backend_resolved=report.backend_resolved,
            system=report.system,
            arch=report.arch,
            checks=checks,
        )

    return generate_doctor_report


# Creating: SmolVM refuses mounts with libkrun before anything else, so it creates the VM without, and they are added.


def _create(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def create(self: Any, config: Any) -> Any:
        if not _wants_mounts(self, config):
            return original(self, config)
        _check_mounts(self, config)
        info = original(self, config.model_copy(update={"workspace_mounts": []}))
        return _with_mounts(self, info, config)

    return create


def _async_create(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def async_create(self: Any, config: Any) -> Any:
        if not _wants_mounts(self, config):
            return await original(self, config)
        _check_mounts(self, config)
        info = await original(self, config.model_copy(update={"workspace_mounts": []}))
        return _with_mounts(self, info, config)

    return async_create


def _wants_mounts(manager: Any, config: Any) -> bool:
    return config is not None and bool(config.workspace_mounts) and manager._backend_for_config(config) == "libkrun"


def _check_mounts(manager: Any, config: Any) -> None:
    """Whether this libkrun can mount them as they are meant, before a disk is copied."""
    manager._validate_network_policy(config, "libkrun")
    try:
        problems = _judge.look_at_mounts(config.workspace_mounts)
    except Error as error:
        raise _smolvm_error(
            f"Cannot share folders with sandbox '{config.vm_id}': {error.message}",
            {"vm_id": config.vm_id, "backend": "libkrun", "code": error.code, "name": error.name, **error.details},
        ) from error
    if problems:
        words = "; ".join(str(problem) for problem in problems)
        raise _smolvm_error(
            f"Cannot share folders with sandbox '{config.vm_id}' as it is asked for: {words}. "
            "'--writable-mounts' takes less of libkrun, and '--backend qemu' shares folders without it.",
            {"vm_id": config.vm_id, "backend": "libkrun", "problems": [problem.as_dict() for problem in problems]},
        )


def _with_mounts(manager: Any, info: Any, config: Any) -> Any:
    try:
        updated = info.config.model_copy(update={"workspace_mounts": config.workspace_mounts})
        return manager.state.update_vm(info.vm_id, config=updated)
    except BaseException:
        # Not one without the folders that were asked for.
        manager.delete(info.vm_id)
        raise


# Running.


def _adapter(original: Any) -> Any:
    base = import_module("smolvm.runtime.base")
    running = import_module("smolvm.types").VMState.RUNNING

    class KrundlRuntimeAdapter(original):  # type: ignore[misc]
        """SmolVM's adapter for libkrun, with krundl behind it."""

        def start(self, vm_info: Any, *, log_path: Any, boot_timeout: float) -> Any:
            try:
                process = _runtime.start(self._context, vm_info, log_path, min(_runtime.SETTLES, boot_timeout))
            except _runtime.NotStarted as error:
                raise _smolvm_error(error.message, error.details) from error
            return base.RuntimeLaunch(pid=process.pid, control_socket_path=None, status=running)

        async def async_start(self, vm_info: Any, *, log_path: Any, boot_timeout: float) -> Any:
            try:
                settles = min(_runtime.SETTLES, boot_timeout)
                process = await _runtime.start_async(self._context, vm_info, log_path, settles)
            except _runtime.NotStarted as error:
                raise _smolvm_error(error.message, error.details) from error
            return base.RuntimeLaunch(pid=process.pid, control_socket_path=None, status=running)

        def stop(self, vm_info: Any, *, timeout: float) -> None:
            if not _runtime.stop(self._context, vm_info, timeout):
                raise _smolvm_error(
                    f"libkrun process did not exit for VM '{vm_info.vm_id}'", {"pid": vm_info.pid}
                )

        async def async_stop(self, vm_info: Any, *, timeout: float) -> None:
            await asyncio.to_thread(self.stop, vm_info, timeout=timeout)

        def pause(self, vm_info: Any) -> None:
            raise _impossible("paused")

        def resume(self, vm_info: Any) -> None:
            raise _impossible("resumed")

        def create_snapshot(self, request: Any) -> Any:
            raise _impossible("written to a snapshot")

        def restore_snapshot(self, request: Any) -> Any:
            raise _impossible("restored from a snapshot")

    return KrundlRuntimeAdapter


def _impossible(what: str) -> Exception:
    return _smolvm_error(f"A libkrun VM cannot be {what}: no release of libkrun has functions for that", {})


# In the guest.


def _new_ssh_client(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def new_ssh_client(self: Any, **options: Any) -> Any:
        client = original(self, **options)
        if _on_libkrun(self):
            client._tcp_port_open = lambda timeout: _guest.answers(client.host, client.port, timeout)
        return client

    return new_ssh_client


def _mount_workspaces(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def mount_workspaces(self: Any) -> None:
        if not _on_libkrun(self):
            # QEMU's way, 9p, has its own repairs, and keeps them.
            original(self)
            return
        if self._ssh_user != "root":
            raise _smolvm_error(
                "Workspace mounts require ssh_user='root' because the guest must mount.",
                {"vm_id": self._vm_id, "ssh_user": self._ssh_user},
            )
        try:
            _guest.mount(self._ssh, self._info.config.workspace_mounts)
        except _guest.NotMounted as error:
            raise _smolvm_error(error.message, {"vm_id": self._vm_id, **error.details}) from error

    return mount_workspaces


def _stop(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def stop(self: Any, timeout: float = 3.0) -> Any:
        _ask(self, timeout)
        return original(self, timeout)

    return stop


def _async_stop(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def async_stop(self: Any, timeout: float = 3.0) -> Any:
        await asyncio.to_thread(_ask, self, timeout)
        return await original(self, timeout)

    return async_stop


def _ask(facade: Any, timeout: float) -> None:
    """Asks the guest to end, over SSH, and waits for it as long; libkrun itself cannot ask. Whatever comes of it, SmolVM's
    own stop comes after."""
    if not _on_libkrun(facade):
        return
    info = facade._sdk.get(facade._vm_id)
    running = import_module("smolvm.types").VMState.RUNNING
    if info.status != running or not info.pid or not facade.can_run_commands():
        return
    deadline = time.monotonic() + timeout
    smolvm_error = import_module("smolvm.exceptions").SmolVMError
    try:
        if not facade._ssh_ready:
            facade._wait_for_ssh_over_network(timeout=timeout)
        _guest.ask_to_end(facade._ssh, max(1.0, deadline - time.monotonic()))
    except (smolvm_error, OSError, EOFError) as error:
        _runtime.logger.debug("VM '%s' could not be asked to end: %s", facade._vm_id, error)
        return
    facade._sdk._wait_for_process(info.pid, max(0.0, deadline - time.monotonic()))


def _on_libkrun(facade: Any) -> bool:
    # SmolVM writes down which one it was, however it was chosen.
    return bool(facade._info.config.backend == "libkrun")


def _smolvm_error(message: str, details: dict[str, Any]) -> Exception:
    error: Exception = import_module("smolvm.exceptions").SmolVMError(message, details)
    return error
