"""docs/python.md and the README are true: every example runs, the first one on its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import krundl
import pytest
from support import REPOSITORY, Stubs



def examples(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


TEXT = (REPOSITORY / "docs/python.md").read_text()
EXAMPLES = examples(TEXT)
README = (REPOSITORY / "README.md").read_text()


def test_the_document_begins_with_something_that_runs(no_libkrun: Callable[[], None]) -> None:
    assert re.match(r"# .*\n\n```python\n", TEXT)
    no_libkrun()
    command = [sys.executable, "-W", "error", "-c", EXAMPLES[0]]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert "no libkrun" in printed and "<DoctorReport " in printed


def test_every_example_runs_after_the_ones_before(
    stubs: Stubs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert len(EXAMPLES) >= 6
    (tmp_path / "rootfs").symlink_to(stubs.place / "files/root")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KRUNDL_LIBRARY", stubs["echoes"])
    names: dict[str, object] = {}
    for example in [*EXAMPLES, *examples(README)]:
        exec(compile(example, "docs/python.md", "exec"), names)  # noqa: S102
    printed = capfd.readouterr().out
    assert "0 the workload exited with status 0\n" in printed
    assert "=1.19.7 Levels(" in printed and "\nTrue yes\n" in printed
    assert "root.dir" in printed and "mount -t overlay" in printed


def test_the_document_speaks_of_every_function() -> None:
    for name in krundl.__all__:
        if name.islower() and callable(getattr(krundl, name)):
            assert f"{name}(" in TEXT or f"`{name}`" in TEXT, name
