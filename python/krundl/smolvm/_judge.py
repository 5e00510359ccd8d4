"""SmolVM's questions about libkrun, answered from krundl's report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ._spec import Mount, shares

if TYPE_CHECKING:
    from .._reports import Check, DoctorReport, Problem

LIBRARY = "libkrun-library"
"""SmolVM's own name for the check whether there is a libkrun."""
MOUNTS = "workspace-mounts"
"""The check whether folders can be shared, which SmolVM has none for."""

# What SmolVM's way of running a VM takes: a kernel and a disk of its own, a network card, a serial console.
_ABILITIES = ("own_kernel", "disks", "network", "console")
_PASST = "host.passt"
_HOST = ("kvm", "kvm.guests", _PASST)


@dataclass(frozen=True)
class Finding:
    """What SmolVM's doctor calls a DoctorCheck."""

    name: str
    status: Literal["pass", "warn", "fail"]
    detail: str
    fix: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether SmolVM's VMs can run with libkrun here."""

    library: bool
    """Whether there is a libkrun that can do all that they take, mounts aside."""
    runs: bool
    """Whether a guest can run besides, on this machine as it is."""
    message: str | None
    """What is in the way, and what would mend it."""


# What the plan of such a VM calls, besides what every libkrun has.
_FUNCTIONS = ("krun_set_kernel", "krun_add_disk", "krun_add_net_unixstream", "krun_add_serial_console_default")

# Stands for all that may be shared read-only: a directory that is always there.
_ANY_SHARE = {"host": "/", "tag": "any", "overlay": True}


def look() -> DoctorReport:
    """krundl's report, as far as SmolVM asks."""
    from .._api import doctor

    return doctor(only=["library", *_ABILITIES, *_HOST], mounts=[_ANY_SHARE])


def look_at_mounts(mounts: Sequence[Mount]) -> list[Problem]:
    """What keeps this libkrun, or this host, from sharing the folders as they are meant.

    Raises LibraryNotFound.
    """
    from .._api import doctor, probe

    # SmolVM's guest lays the overlay itself, and what that takes of libkrun is the same.
    asked = [{**share, "read_only": False, "overlay": share["read_only"]} for share in shares(mounts)]
    report = doctor(only=["library", "mount.works"], mounts=asked)
    if report.library is None:
        # It has the words for it.
        probe()
    return [_for_smolvm(problem) for mount in report.mounts for problem in mount.problems]


def _for_smolvm(problem: Problem) -> Problem:
    """A layer that the guest makes itself cannot be done without by asking for less."""
    if not problem.field.endswith(".overlay") or problem.fix is None:
        return problem
    return replace(problem, fix=problem.fix.partition(", or ")[0])


def findings(report: DoctorReport) -> list[Finding]:
    """The report in the form of SmolVM's doctor: one check that names the library, and those of krundl's own that count
    here, by their ids."""
    found = [_library(report)]
    for check in report.checks:
        if check.id in (*_ABILITIES, *_HOST):
            found.append(_finding(check, required=check.id in (*_ABILITIES, _PASST)))
        elif check.id.startswith("library.") and check.status in ("warn", "fail", "crash") and report.library is not None:
            found.append(_finding(check, required=False))
    if report.library is not None:
        found.append(_workspace_mounts(report))
    return found


def verdict(report: DoctorReport) -> Verdict:
    """Whether libkrun is there, and whether SmolVM's VMs run with it."""
    failed = [finding for finding in findings(report) if finding.status == "fail"]
    if not failed:
        return Verdict(True, True, None)
    of_the_library = [finding for finding in failed if finding.name not in _HOST]
    # Without a library all the others only repeat it.
    named = failed[:1] if report.library is None else failed
    words = " ".join(_sentence(finding) for finding in named)
    words += " Run 'python -m krundl.smolvm doctor --backend libkrun' for the whole report."
    return Verdict(not of_the_library, False, words)


def _library(report: DoctorReport) -> Finding:
    library = report.library
    if library is None:
        check = next((check for check in report.checks if check.id == "library.found"), None)
        if check is None:
            return Finding(LIBRARY, "fail", "no libkrun can be used", "Install libkrun.")
        return Finding(LIBRARY, "fail", _detail(check), check.fix)
    detail = f"libkrun {library.version.range.removeprefix('=')} at {library.path}"
    missing = [name for name in _FUNCTIONS if library.support.get(name, "absent") not in ("yes", "unknown")]
    if not missing:
        return Finding(LIBRARY, "pass", detail)
    fix = "Install libkrun 1.17.0 or later, built with disks and network cards (BLK=1 NET=1)."
    return Finding(LIBRARY, "fail", f"{detail} lacks {', '.join(missing)}", fix)


def _workspace_mounts(report: DoctorReport) -> Finding:
    problems = [_for_smolvm(problem) for mount in report.mounts for problem in mount.problems]
    if not problems:
        detail = "folders can be shared: read-only on the host's side with a layer in the guest, or writable"
        return Finding(MOUNTS, "pass", detail)
    fixes = [problem.fix for problem in problems if problem.fix]
    return Finding(
        MOUNTS,
        "warn",
        "folders cannot be shared read-only: " + "; ".join(problem.reason for problem in problems),
        "; ".join(fixes) or None,
    )


def _finding(check: Check, *, required: bool) -> Finding:
    status: Literal["pass", "warn", "fail"] = "warn"
    if check.status == "pass":
        status = "pass"
    elif check.status in ("fail", "crash") or required:
        # krundl itself can do without some of it; SmolVM's VMs cannot.
        status = "fail"
    return Finding(check.id, status, _detail(check), check.fix)


def _detail(check: Check) -> str:
    return check.summary if check.detail is None else f"{check.summary}\n{check.detail}"


def _sentence(finding: Finding) -> str:
    text = f"{finding.name}: {finding.detail}".splitlines()[0].rstrip(".")
    return f"{text}." if not finding.fix else f"{text}; {_first(finding.fix)}."


def _first(fix: str) -> str:
    lines = [line.strip() for line in fix.splitlines() if line.strip()]
    first = lines[0].rstrip(".")
    return f"{first}: {'; '.join(lines[1:])}" if lines[1:] else first
