"""The workload's standard streams."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import krundl
import pytest
from support import Stubs

# More than any pipe holds, in both directions at once.
MUCH = bytes(range(256)) * 4096 * 2


def echo(stubs: Stubs, **streams: object) -> krundl.Vm:
    return stubs.launch("echoes", **streams)


def test_the_constants_are_subprocesss() -> None:
    assert (krundl.PIPE, krundl.STDOUT, krundl.DEVNULL) == (subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL)


def test_pipes_are_files(stubs: Stubs) -> None:
    with echo(stubs, stdin=krundl.PIPE, stdout=krundl.PIPE, stderr=krundl.PIPE) as vm:
        assert vm.stdin is not None and vm.stdout is not None and vm.stderr is not None
        assert vm.stderr.readline() == b"echoing\n"
        vm.stdin.write(b"one\ntwo\n")
        vm.stdin.close()
        assert vm.stdout.readline() == b"one\n"
        assert vm.stdout.read() == b"two\n"
        assert vm.wait() == 0
    with echo(stubs) as vm:
        assert (vm.stdin, vm.stdout, vm.stderr) == (None, None, None)


def test_communicate_speaks_in_all_directions_at_once(stubs: Stubs) -> None:
    with echo(stubs, stdin=krundl.PIPE, stdout=krundl.PIPE, stderr=krundl.PIPE) as vm:
        assert vm.communicate(MUCH, timeout=60) == (MUCH, b"echoing\n")
        assert vm.returncode == 0


def test_communicate_without_input_closes_it(stubs: Stubs) -> None:
    with echo(stubs, stdin=krundl.PIPE, stderr=krundl.PIPE) as vm:
        assert vm.communicate(timeout=60) == (None, b"echoing\n")


def test_communicate_can_be_called_again_after_its_time(stubs: Stubs) -> None:
    with stubs.launch("runs", stdout=krundl.PIPE) as vm:
        for _ in range(2):
            with pytest.raises(krundl.TimedOut):
                vm.communicate(timeout=0.05)
        vm.kill()
        assert vm.communicate(timeout=10) == (b"", None)
        assert vm.returncode == 137


def test_communicate_raises_what_the_vm_failed_with(stubs: Stubs) -> None:
    with stubs.launch("vanishes", stdout=krundl.PIPE) as vm, pytest.raises(krundl.GuestLost):
        vm.communicate(timeout=10)


def test_a_reader_that_is_gone_is_no_error_of_communicate(stubs: Stubs) -> None:
    with stubs.launch("exits-7", stdin=krundl.PIPE, stdout=krundl.PIPE) as vm:
        assert vm.communicate(MUCH, timeout=30) == (b"", None)
        assert vm.returncode == 7


def test_communicate_does_not_turn_in_circles(stubs: Stubs) -> None:
    with stubs.launch("runs", stdout=krundl.PIPE) as vm:
        before = time.process_time()
        with pytest.raises(krundl.TimedOut):
            vm.communicate(timeout=1)
        assert time.process_time() - before < 0.2


def test_errors_go_where_the_output_goes(stubs: Stubs, tmp_path: Path) -> None:
    with echo(stubs, stdout=krundl.PIPE, stderr=krundl.STDOUT) as vm:
        assert vm.communicate() == (b"echoing\n", None)
    with (tmp_path / "both").open("wb") as file, echo(stubs, stdout=file, stderr=krundl.STDOUT) as vm:
        vm.wait()
    assert (tmp_path / "both").read_bytes() == b"echoing\n"
    with echo(stubs, stdout=krundl.DEVNULL, stderr=krundl.STDOUT) as vm:
        assert vm.wait() == 0


def test_streams_go_to_files_and_descriptors(stubs: Stubs, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"from a file\n")
    reader, writer = os.pipe()
    with (tmp_path / "in").open("rb") as source, echo(stubs, stdin=source, stdout=writer) as vm:
        os.close(writer)
        assert os.read(reader, 100) == b"from a file\n"
        assert vm.wait() == 0
        assert not source.closed
    os.close(reader)


def test_the_callers_own_streams_are_the_default(stubs: Stubs, capfd: pytest.CaptureFixture[str]) -> None:
    with stubs.launch("echoes", stdout=None, stderr=None) as vm:
        vm.wait()
    assert capfd.readouterr().err == "echoing\n"


def test_what_is_no_stream_is_refused(stubs: Stubs, nothing_is_left: None) -> None:
    for wrong in (-7, krundl.STDOUT):
        with pytest.raises(ValueError, match="is no descriptor"):
            stubs.launch("succeeds", stdout=wrong)
    with pytest.raises(OSError):
        stubs.launch("succeeds", stdout=1_000_000)
    with pytest.raises(AttributeError):
        stubs.launch("succeeds", stdout=object())
