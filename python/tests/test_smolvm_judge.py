"""What SmolVM is told of libkrun, by libraries that look like it."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import krundl
import pytest
from krundl.smolvm import KNOWN, UnknownSmolVM, _judge, install, installed
from support import Stubs
from test_smolvm_spec import Mount


def report(monkeypatch: pytest.MonkeyPatch, stubs: Stubs, name: str, **statuses: str) -> krundl.DoctorReport:
    """The report with that library, on a machine whose host's checks come out like that, and pass otherwise."""
    monkeypatch.setenv("KRUNDL_LIBRARY", stubs[name])
    found = _judge.look()
    host = {"kvm": "pass", "kvm_guests": "pass", "host_passt": "pass", **statuses}
    by_id = {name.replace("_", ".", 1): status for name, status in host.items()}
    checks = [replace(check, status=by_id.get(check.id, check.status)) for check in found.checks]  # type: ignore[arg-type]
    return replace(found, checks=checks)


def by_name(found: krundl.DoctorReport) -> dict[str, _judge.Finding]:
    return {finding.name: finding for finding in _judge.findings(found)}


def test_all_is_well(monkeypatch: pytest.MonkeyPatch, stubs: Stubs) -> None:
    good = report(monkeypatch, stubs, "1.19.7")
    assert _judge.verdict(good) == _judge.Verdict(True, True, None)
    found = by_name(good)
    assert {finding.status for finding in found.values()} == {"pass"}
    assert "1.19.7" in found["libkrun-library"].detail and stubs["1.19.7"] in found["libkrun-library"].detail


def test_a_libkrun_without_disks_is_told_and_does_not_raise(monkeypatch: pytest.MonkeyPatch, stubs: Stubs) -> None:
    bare = report(monkeypatch, stubs, "bare")
    found = by_name(bare)
    assert found["libkrun-library"].status == "fail" and "krun_add_disk" in found["libkrun-library"].detail
    assert found["disks"].status == "fail" and found["network"].status == "fail"
    verdict = _judge.verdict(bare)
    assert not verdict.library and not verdict.runs
    assert verdict.message and "krun_add_disk" in verdict.message and "BLK=1" in verdict.message


@pytest.mark.parametrize("old", ["1.6.0", "1.9.5", "1.13.0"])
def test_an_old_libkrun_is_told(old: str, monkeypatch: pytest.MonkeyPatch, stubs: Stubs) -> None:
    verdict = _judge.verdict(report(monkeypatch, stubs, old))
    assert not verdict.library and verdict.message and "1.17.0" in verdict.message


def test_without_libkrun_only_that_is_said(monkeypatch: pytest.MonkeyPatch, stubs: Stubs) -> None:
    verdict = _judge.verdict(report(monkeypatch, stubs, "missing"))
    assert not verdict.library and not verdict.runs
    assert verdict.message and verdict.message.count("libkrun-library") == 1 and "own_kernel" not in verdict.message


def test_a_library_that_breaks_is_shown_with_the_reason(monkeypatch: pytest.MonkeyPatch, stubs: Stubs) -> None:
    found = by_name(report(monkeypatch, stubs, "incomplete"))
    assert found["libkrun-library"].status == "fail" and "libvirglrenderer" in found["libkrun-library"].detail


@pytest.mark.parametrize("check", ["kvm", "kvm_guests", "host_passt"])
def test_no_pass_where_no_guest_can_run(check: str, monkeypatch: pytest.MonkeyPatch, stubs: Stubs) -> None:
    """The device may be there and open, and guests may not run all the same."""
    verdict = _judge.verdict(report(monkeypatch, stubs, "1.19.7", **{check: "fail"}))
    assert verdict.library and not verdict.runs
    assert verdict.message and check.replace("_", ".", 1) in verdict.message


def test_passt_that_is_missing_is_no_matter_of_taste_here(monkeypatch: pytest.MonkeyPatch, stubs: Stubs) -> None:
    found = by_name(report(monkeypatch, stubs, "1.19.7", host_passt="skip"))
    assert found["host.passt"].status == "fail"


def test_mounts_that_would_lack_something_are_told(monkeypatch: pytest.MonkeyPatch, stubs: Stubs) -> None:
    found = by_name(report(monkeypatch, stubs, "1.18.0"))
    assert found["workspace-mounts"].status == "warn" and "1.19.6" in (found["workspace-mounts"].fix or "")
    assert "make the mount read-only" not in (found["workspace-mounts"].fix or "")
    # VMs without mounts run all the same.
    assert _judge.verdict(report(monkeypatch, stubs, "1.18.0")).runs


@pytest.mark.parametrize(
    ("library", "writable", "remedy"),
    [
        ("1.19.7", False, None),
        ("1.19.7", True, None),
        ("1.19.2", False, "1.19.6"),
        ("1.19.2", True, None),
        ("1.17.4", False, "1.19.6"),
        ("1.17.4", True, None),
    ],
)
def test_mounts_are_refused_where_they_would_not_be_what_is_asked_for(
    library: str, writable: bool, remedy: str | None, monkeypatch: pytest.MonkeyPatch, stubs: Stubs, tmp_path: Path
) -> None:
    monkeypatch.setenv("KRUNDL_LIBRARY", stubs[library])
    problems = _judge.look_at_mounts([Mount(tmp_path, writable=writable)])
    if remedy is None:
        assert problems == []
    else:
        assert any(remedy in (problem.fix or "") for problem in problems)


def test_mounts_without_a_library_or_a_directory(monkeypatch: pytest.MonkeyPatch, stubs: Stubs, tmp_path: Path) -> None:
    monkeypatch.setenv("KRUNDL_LIBRARY", stubs["1.19.7"])
    (problem,) = _judge.look_at_mounts([Mount(tmp_path / "missing")])
    assert problem.field == "mounts[0].host"
    monkeypatch.setenv("KRUNDL_LIBRARY", stubs["missing"])
    with pytest.raises(krundl.LibraryNotFound):
        _judge.look_at_mounts([Mount(tmp_path)])


def test_a_version_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "9.9.9")
    with pytest.raises(UnknownSmolVM, match=f"SmolVM 9.9.9 is installed, and krundl knows {KNOWN[-1]}: pip install"):
        install()
    assert not installed()


def test_macos_is_left_to_smolvm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with pytest.raises(UnknownSmolVM, match="gvproxy"):
        install()


def test_no_smolvm_at_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(UnknownSmolVM, match=r"pip install 'krundl\[smolvm\]'"):
        install()
    with pytest.raises(ImportError):
        install()


def test_importing_it_imports_nothing_of_smolvm() -> None:
    code = "import sys, krundl.smolvm; sys.exit(any(name.split('.')[0] == 'smolvm' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
