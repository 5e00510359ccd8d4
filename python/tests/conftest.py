"""Fixtures."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import Stubs, built, children, threads


@pytest.fixture(scope="session")
def stubs() -> Stubs:
    return built()


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """No descriptor, thread or child more than before."""
    # What earlier tests have left to the collector is not to go meanwhile, nor is this one's to count.
    gc.collect()
    before = (len(os.listdir("/proc/self/fd")), sorted(children()))
    threads_before = threads()
    yield
    gc.collect()
    assert (len(os.listdir("/proc/self/fd")), sorted(children())) == before
    # A thread that was joined may be seen for a moment longer.
    for _ in range(200):
        if threads() <= threads_before:
            return
        time.sleep(0.005)
    pytest.fail(f"{threads()} threads, where there were {threads_before}")


@pytest.fixture
def no_libkrun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """A machine without libkrun."""

    def look() -> None:
        empty = tmp_path / "empty"
        empty.mkdir()
        monkeypatch.delenv("KRUNDL_LIBRARY", raising=False)
        monkeypatch.setenv("KRUNDL_LIBRARY_DIR", str(empty))

    return look
