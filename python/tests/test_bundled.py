"""What the packages krundl-libkrun and krundl-kernel bring is found without importing them, after all else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import krundl
import pytest
from support import Stubs

PROBE = """
import json, sys, krundl
sys.path.append(sys.argv[1])
try:
    probe = krundl.probe()
    print(json.dumps([probe.attempts[-1].origin, probe.attempts[-1].candidate]))
except krundl.LibraryNotFound as error:
    print(json.dumps([attempt.origin for attempt in error.attempts]))
assert "krundl_libkrun" not in sys.modules
"""


@pytest.fixture
def site(tmp_path: Path, stubs: Stubs) -> Path:
    """A directory of packages, as pip would leave it."""
    library = tmp_path / "krundl_libkrun/libkrun.so.1"
    library.parent.mkdir()
    library.symlink_to(os.path.realpath(stubs["1.19.7"]))
    (tmp_path / "krundl_kernel").mkdir()
    (tmp_path / "krundl_kernel/vmlinux").touch()
    return tmp_path


def probe(site: Path, **variables: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KRUNDL_LIBRARY")}
    command = [sys.executable, "-W", "error", "-c", PROBE, str(site)]
    result = subprocess.run(command, env={**environment, **variables}, stdout=subprocess.PIPE, text=True, check=True)
    found: list[str] = json.loads(result.stdout)
    return found


def test_the_library_of_a_package_is_found_where_there_is_no_other(site: Path) -> None:
    found = probe(site)
    if found[0] in ("loader", "well_known"):
        pytest.skip("this machine has a libkrun of its own")
    assert found == ["bundled", str(site / "krundl_libkrun/libkrun.so.1")]


def test_what_somebody_names_rules_it_out(site: Path, tmp_path: Path, stubs: Stubs) -> None:
    assert probe(site, KRUNDL_LIBRARY=stubs["1.19.7"]) == ["env_library", stubs["1.19.7"]]
    (tmp_path / "empty").mkdir()
    assert "bundled" not in probe(site, KRUNDL_LIBRARY_DIR=str(tmp_path / "empty"))


def test_the_current_directory_is_not_searched(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site)
    monkeypatch.syspath_prepend("")
    with pytest.raises(krundl.InvalidArgument):
        krundl.bundled_kernel()


def test_the_kernel_of_a_package(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(krundl.InvalidArgument, match=r"pip install 'krundl\[bundled\]'"):
        krundl.bundled_kernel()
    monkeypatch.syspath_prepend(str(site))
    assert krundl.bundled_kernel() == krundl.Kernel(path=str(site / "krundl_kernel/vmlinux"))
