"""What the tests share. `cargo xtask test` builds libraries that look like libkrun (tests/cases) and names their place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import krundl
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


class Stubs:
    """The libraries of tests/cases/cases.json, the cases, and a directory that passes for a guest's root."""

    def __init__(self, place: Path) -> None:
        data = json.loads((place / "cases.json").read_text())
        self.place = place
        self.libraries: dict[str, str] = data["libraries"]
        self.cases: list[dict[str, Any]] = data["cases"]

    def __getitem__(self, name: str) -> str:
        return self.libraries[name]

    def spec(self, **fields: Any) -> krundl.VmSpec:
        """The smallest VM, with these fields besides."""
        smallest: dict[str, Any] = {
            "vcpus": 1,
            "memory_mib": 256,
            "root": krundl.Root(dir=self.place / "files/root"),
            "exec": krundl.Exec(path="/bin/sh"),
        }
        return krundl.VmSpec(**{**smallest, **fields})

    def launch(self, name: str, **options: Any) -> krundl.Vm:
        """The smallest VM with a library, without streams unless they are named."""
        streams = {"stdin": krundl.DEVNULL, "stdout": krundl.DEVNULL, "stderr": krundl.DEVNULL}
        return krundl.launch(self.spec(), library=self[name], **{**streams, **options})


def built() -> Stubs:
    place = os.environ.get("KRUNDL_TEST_STUBS")
    if not place:
        raise pytest.UsageError("KRUNDL_TEST_STUBS names no place with stub libraries; fix: cargo xtask test --python")
    return Stubs(Path(place))


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def children() -> list[int]:
    """The children of this process, zombies included.

    By the parents of all processes: `task/*/children` is a file for each thread, of which one may end meanwhile."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if (stat := _stat(pid)) and int(stat[1]) == os.getpid()]


def has_ended(pid: int) -> bool:
    """A zombie has, too."""
    stat = _stat(pid)
    return stat is None or stat[0] == "Z"


def sleeps(pid: int) -> bool:
    stat = _stat(pid)
    return stat is not None and stat[0] == "S"


def _stat(pid: int) -> list[str] | None:
    """What the kernel tells of a process (proc(5), `stat`), from its state on; nothing if there is none any more."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name of the program, in parentheses, may hold anything.
            return file.read().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
