"""The functions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any, Union

from . import _krundl
from ._bundled import libkrun
from ._data import _plain

if TYPE_CHECKING:
    from ._plan import Plan
    from ._reports import DoctorReport, Inspected, ProbeReport, Problem
    from ._spec import HostPath, Mount, VmSpec
    from ._vm import Vm

Spec = Union["VmSpec", Mapping[str, Any], str]
"""A spec, a dictionary with the names of its JSON, or the JSON itself."""

File = Union[None, int, IO[Any]]
"""Where a stream goes: None for the caller's own, PIPE, DEVNULL, STDOUT, a descriptor, or a file that has one."""


def _json(data: Any) -> str:
    if isinstance(data, str):
        return data
    import json

    return json.dumps(_plain(data))


def probe(
    library: HostPath | None = None,
    *,
    directory: HostPath | None = None,
    helper: HostPath | None = None,
    timeout: float = 10.0,
    kernel_release: bool = False,
) -> ProbeReport:
    """Opens libkrun in a child process and tells what it can do.

    `library` is a file and `directory` a place to search instead of the usual ones; `helper` is the krundl-vmm to do it
    with. `timeout` is how many seconds each candidate may take to open. With `kernel_release` the report has the release
    of the guest's kernel, too (`firmware.kernel`), which takes as long as all the rest.

    Raises LibraryNotFound with every attempt.
    """
    from ._reports import ProbeReport

    data, probed = _krundl.probe(library, directory, libkrun(), helper, timeout, kernel_release)
    report = ProbeReport.from_dict(data)
    report._remember(probed)
    return report


def _probed(
    probe_report: ProbeReport | None, library: HostPath | None, helper: HostPath | None
) -> _krundl.Probed:
    if probe_report is None:
        return _krundl.probe(library, None, libkrun(), helper, 10.0, False)[1]
    if library is not None:
        raise ValueError("a probe has its library: give one or the other")
    if probe_report._probed is None:
        raise ValueError("this report was not made by probe(): only what was seen can be launched with")
    return probe_report._probed


def doctor(
    library: HostPath | None = None,
    *,
    directory: HostPath | None = None,
    helper: HostPath | None = None,
    timeout: float = 10.0,
    mounts: Iterable[Mount | Mapping[str, Any]] = (),
    kernel: HostPath | None = None,
    compare: str | None = None,
    boot: bool = False,
    only: Iterable[str] = (),
) -> DoctorReport:
    """Looks at libkrun (in a child process) and at this machine, and judges. What cannot be found out is part of the
    report; a machine without libkrun is one, too.

    `mounts` and a `kernel` are judged if given; `compare` is a release to compare with; with `boot` a guest is booted;
    `only` names checks or groups of them. `print(report)` shows what `krundl doctor` does.

    Raises InvalidArgument for a check or a release that there is not.
    """
    from ._reports import DoctorReport

    text = _json(list(mounts))
    data, shown = _krundl.doctor(
        library, directory, libkrun(), helper, timeout, text, kernel, compare, boot, list(only)
    )
    report = DoctorReport.from_dict(data)
    report._remember(shown)
    return report


def inspect(*files: HostPath, root: HostPath | None = None) -> list[Inspected]:
    """Reads what libraries say about themselves, for any architecture, without opening them.

    With a `root` the paths are those in it; without files, those where libkrun is looked for in it.
    """
    from ._reports import Inspected

    found = []
    for data, shown in _krundl.inspect(list(files), root):
        file = Inspected.from_dict(data)
        file._remember(shown)
        found.append(file)
    return found


def check(
    spec: Spec,
    *,
    library: HostPath | None = None,
    probe: ProbeReport | None = None,
    helper: HostPath | None = None,
) -> list[Problem]:
    """Everything that stands between a spec and a VM: mistakes of the spec, what this host has not, and what this
    libkrun cannot do. Nothing is in the way of an empty list.

    Raises LibraryNotFound where there is no libkrun to check it with.
    """
    from ._reports import Problem

    return [Problem.from_dict(data) for data in _krundl.check(_json(spec), _probed(probe, library, helper))]


def plan(
    spec: Spec,
    *,
    library: HostPath | None = None,
    probe: ProbeReport | None = None,
    helper: HostPath | None = None,
) -> Plan:
    """The calls that a spec comes to with this libkrun. Nothing is started.

    Raises InvalidSpec or Unsupported with every problem.
    """
    from . import _plan

    return _plan.of(*_krundl.plan(_json(spec), _probed(probe, library, helper)))


def launch(
    spec: Spec,
    *,
    library: HostPath | None = None,
    probe: ProbeReport | None = None,
    helper: HostPath | None = None,
    stdin: File = None,
    stdout: File = None,
    stderr: File = None,
    log: HostPath | int | IO[Any] | None = None,
    die_with_parent: bool = False,
    new_session: bool = False,
    start_timeout: float = 30.0,
) -> Vm:
    """Starts a VM. Returns when libkrun has been entered: every call before that was accepted. Whether the guest comes
    up is told by `Vm.wait_ready`, how it ends by `Vm.wait`.

    `probe` is what an earlier probe of the library found; without it the library is probed first. The streams are as in
    `subprocess.Popen`. `log` is a file to append libkrun's log to; without it `Vm.log` has the first and the last of it.
    With `die_with_parent` the VM dies with this process, however that ends; with `new_session` it is out of reach of
    the terminal's signals. `start_timeout` is how many seconds it may take until libkrun is entered.

    Raises InvalidSpec or Unsupported with every problem; CallError, Crashed, LibraryChanged, TimedOut; nothing is left
    running then.
    """
    from ._vm import Vm

    probed = _probed(probe, library, helper)
    return Vm._made(
        _krundl.launch(
            _json(spec), probed, True, stdin, stdout, stderr, log, helper, die_with_parent, new_session, start_timeout
        )
    )


async def launch_async(
    spec: Spec,
    *,
    library: HostPath | None = None,
    probe: ProbeReport | None = None,
    helper: HostPath | None = None,
    stdin: File = None,
    stdout: File = None,
    stderr: File = None,
    log: HostPath | int | IO[Any] | None = None,
    die_with_parent: bool = False,
    new_session: bool = False,
    start_timeout: float = 30.0,
) -> Vm:
    """As `launch`, on asyncio and without threads: others run until libkrun is entered.

    Without a `probe` the library is probed first, and that blocks for some milliseconds.
    """
    from ._vm import Vm

    probed = _probed(probe, library, helper)
    vm = Vm._made(
        _krundl.launch(
            _json(spec), probed, False, stdin, stdout, stderr, log, helper, die_with_parent, new_session, start_timeout
        )
    )
    try:
        await vm._entered(start_timeout)
    except BaseException:
        vm.close()
        raise
    return vm


def krun_launch(
    spec: Mapping[str, Any] | str,
    *,
    library: HostPath | None = None,
    stdin: File = None,
    stdout: File = None,
    stderr: File = None,
    log: HostPath | int | IO[Any] | None = None,
    new_session: bool = False,
    start_timeout: float = 30.0,
) -> int:
    """Starts a VM, lets it go and returns the number of its process.

    The process is a child of this one, and it is the caller's to reap, with `os.waitpid(pid, 0)`, and to kill. Its
    status is libkrun's, not the workload's: only `launch` hears the guest. Without a `log` what libkrun writes is lost.
    """
    vm = launch(
        spec,
        library=library,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        log=os.devnull if log is None else log,
        new_session=new_session,
        start_timeout=start_timeout,
    )
    return vm.detach()


def mount_commands(
    mount: Mount | Mapping[str, Any], *, overlay: bool | Mapping[str, str] | None = None
) -> list[str]:
    """The commands that put a share in its place, for guests that mount by themselves (those with a kernel or an init of
    their own): for a POSIX shell of root in the guest, each to succeed before the next.

    A read-only mount gets an overlay, so that the guest may write what the host never sees, and a writable one is the
    share itself. `overlay=False` is the share itself in any case, `overlay=True` an overlay in any case, and a dictionary
    says where its parts are: `lower`, `upper` and `work`, where `{tag}` stands for the tag. The default is SmolVM's
    layout.

    >>> import krundl
    >>> krundl.mount_commands(krundl.Mount(host="/src", tag="src"))
    ['mkdir -p -- /workspace', 'mount -t virtiofs -o rw -- src /workspace']

    Raises InvalidSpec where the mount has no tag.
    """
    paths: Mapping[str, str] | None = None
    if overlay is True:
        paths = {}
    elif isinstance(overlay, Mapping):
        paths = overlay
    return _krundl.mount_commands(_json(mount), overlay is False, None if paths is None else dict(paths))


def missing_filesystems(proc_filesystems: str) -> list[str]:
    """Which of the file systems that `mount_commands` uses a guest's kernel does not know, by the text of its
    /proc/filesystems. A module that is not loaded is missing there, too.

    >>> import krundl
    >>> krundl.missing_filesystems("nodev\\tsysfs\\n\\tvirtiofs\\n")
    ['overlay']
    """
    return _krundl.missing_filesystems(proc_filesystems)
