"""Finds libkrun, tells what it can do, and runs microVMs with it in a child process.

>>> import krundl
>>> spec = krundl.VmSpec(
...     vcpus=1,
...     memory_mib=512,
...     root=krundl.Root(dir="./rootfs"),
...     mounts=[krundl.Mount(host=".", guest="/workspace", read_only=True)],
...     exec=krundl.Exec(path="ls", args=["/workspace"]),
... )
>>> with krundl.launch(spec) as vm:  # doctest: +SKIP
...     vm.wait()
0

Importing this loads neither libkrun nor anything that it takes: every function answers on a machine without it, with an
exception that tells what to install. What is not needed yet is not imported yet either.
"""

from __future__ import annotations

from . import _krundl
from ._errors import (
    CallError,
    ControlLost,
    Crashed,
    Error,
    GenerationUnknown,
    GuestLost,
    GuestSetup,
    HelperFailed,
    HelperMismatch,
    HelperNotFound,
    Internal,
    InvalidArgument,
    InvalidSpec,
    LibraryChanged,
    LibraryNotFound,
    NetworkError,
    NeverUp,
    OsError,
    ReadinessUnknown,
    StartError,
    TimedOut,
    Unsupported,
    VmmFailed,
)

# What type checkers take for true, without the price of importing typing.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._api import (
        check,
        doctor,
        inspect,
        krun_launch,
        launch,
        launch_async,
        missing_filesystems,
        mount_commands,
        plan,
        probe,
    )
    from ._bundled import bundled_kernel
    from ._exit import Exit
    from ._guest import Command, CommandFailed, Completed, Figures, Guest, guests
    from ._plan import Call, Plan
    from ._reports import (
        Attempt,
        Check,
        DoctorReport,
        Inspected,
        Levels,
        LibraryReport,
        Part,
        ProbeReport,
        Problem,
    )
    from ._spec import (
        ConsoleFile,
        ConsolePort,
        ControlSocket,
        Disk,
        Display,
        Exec,
        Forward,
        Gpu,
        Gvproxy,
        Kernel,
        Mount,
        Nic,
        Overlay,
        OverlayDir,
        OverlayFile,
        Passt,
        Port,
        Rlimit,
        Root,
        RootDisk,
        Serial,
        Tee,
        Tsi,
        VmSpec,
        Vsock,
        VsockPort,
    )
    from ._vm import DEVNULL, PIPE, STDOUT, OpenPort, Vm

__version__: str = _krundl.version()

_ERRORS = (
    "CallError ControlLost Crashed Error GenerationUnknown GuestLost GuestSetup HelperFailed HelperMismatch HelperNotFound"
    " Internal InvalidArgument InvalidSpec LibraryChanged LibraryNotFound NetworkError NeverUp OsError ReadinessUnknown StartError TimedOut Unsupported"
    " VmmFailed"
)

_LATER = {
    "_api": "check doctor inspect krun_launch launch launch_async missing_filesystems mount_commands plan probe",
    "_bundled": "bundled_kernel",
    "_exit": "Exit",
    "_guest": "Command CommandFailed Completed Figures Guest guests",
    "_plan": "Call Plan",
    "_reports": "Attempt Check DoctorReport Inspected Levels LibraryReport Part ProbeReport Problem",
    "_spec": "ConsoleFile ConsolePort ControlSocket Disk Display Exec Forward Gpu Gvproxy Kernel Mount Nic Overlay OverlayDir OverlayFile Passt"
    " Port Rlimit Root RootDisk Serial Tee Tsi VmSpec Vsock VsockPort",
    "_vm": "DEVNULL PIPE STDOUT OpenPort Vm",
}

_PLACES = {name: module for module, names in _LATER.items() for name in names.split()}

if TYPE_CHECKING:
    __all__ = [
        "Attempt",
        "Call",
        "CallError",
        "Check",
        "Command",
        "CommandFailed",
        "Completed",
        "ConsoleFile",
        "ConsolePort",
        "ControlLost",
        "ControlSocket",
        "Crashed",
        "DEVNULL",
        "Disk",
        "Display",
        "DoctorReport",
        "Error",
        "Exec",
        "Exit",
        "Figures",
        "Forward",
        "GenerationUnknown",
        "Gpu",
        "Guest",
        "GuestLost",
        "GuestSetup",
        "Gvproxy",
        "HelperFailed",
        "HelperMismatch",
        "HelperNotFound",
        "Inspected",
        "Internal",
        "InvalidArgument",
        "InvalidSpec",
        "Kernel",
        "Levels",
        "LibraryChanged",
        "LibraryNotFound",
        "LibraryReport",
        "Mount",
        "NetworkError",
        "NeverUp",
        "Nic",
        "OpenPort",
        "OsError",
        "Overlay",
        "OverlayDir",
        "OverlayFile",
        "PIPE",
        "Part",
        "Passt",
        "Plan",
        "Port",
        "ProbeReport",
        "Problem",
        "ReadinessUnknown",
        "Rlimit",
        "Root",
        "RootDisk",
        "STDOUT",
        "Serial",
        "StartError",
        "Tee",
        "TimedOut",
        "Tsi",
        "Unsupported",
        "Vm",
        "VmSpec",
        "VmmFailed",
        "Vsock",
        "VsockPort",
        "__version__",
        "bundled_kernel",
        "check",
        "doctor",
        "guests",
        "inspect",
        "krun_launch",
        "launch",
        "launch_async",
        "missing_filesystems",
        "mount_commands",
        "plan",
        "probe",
    ]
else:
    __all__ = sorted([*_ERRORS.split(), *_PLACES, "__version__"])

    def __getattr__(name):
        module = _PLACES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f".{module}", __name__), name)
        globals()[name] = value
        return value

    def __dir__():
        return [*__all__, "__doc__", "__file__", "__name__", "__path__", "__spec__"]
