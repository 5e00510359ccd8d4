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
    """The children of this process, zombies included."""
    tasks = Path("/proc/self/task")
    return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]
