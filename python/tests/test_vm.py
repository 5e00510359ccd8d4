"""A VM feels like subprocess.Popen, and tells more."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path

import krundl
import pytest
from support import Stubs


def test_a_workloads_status_is_the_return_code(stubs: Stubs) -> None:
    for name, status, kind in [
        ("succeeds", 0, "code"),
        ("exits-7", 7, "code"),
        ("old-exits-3", 3, "code"),
        ("killed", 137, "signal"),
        ("not-found", 127, "not_executed"),
    ]:
        vm = stubs.launch(name)
        assert vm.returncode is None or vm.exit is not None
        assert vm.wait() == status, name
        assert vm.exit is not None
        assert (vm.returncode, vm.poll(), vm.exit.kind) == (status, status, kind)
        assert vm.exit.success == (status == 0)
        assert vm.wait() == status, "it stays so"


def test_exit_has_the_words(stubs: Stubs) -> None:
    vm = stubs.launch("not-found")
    vm.wait()
    assert vm.exit is not None
    assert vm.exit.reason == "cannot run '/x'"
    assert str(vm.exit) == "the workload was not executed: cannot run '/x' (status 127)"
    assert repr(vm) == f"<Vm {vm.pid}: {vm.exit}>"
    killed = stubs.launch("killed")
    killed.wait()
    assert killed.exit is not None and killed.exit.signal == 9


def test_a_vm_that_runs_has_no_return_code(stubs: Stubs) -> None:
    with stubs.launch("runs") as vm:
        vm.wait_ready(10)
        assert (vm.poll(), vm.returncode, vm.exit) == (None, None, None)
        assert os.path.exists(f"/proc/{vm.pid}")
        started = time.monotonic()
        with pytest.raises(krundl.TimedOut, match="did not happen within 100 ms") as caught:
            vm.wait(0.1)
        assert 0.1 <= time.monotonic() - started < 5
        assert isinstance(caught.value, TimeoutError) and caught.value.function == "krun_start_enter"
        assert vm.poll() is None, "a time that is over changes nothing"


def test_a_port_that_was_left_open_is_told(stubs: Stubs) -> None:
    passt = krundl.Passt(program=stubs.place / "files/passt", ports=[krundl.Forward(guest=22)])
    spec = stubs.spec(nics=[krundl.Nic(passt=passt)])
    with krundl.launch(spec, library=stubs["runs"], stdin=krundl.DEVNULL) as vm:
        [port] = vm.ports
        assert (port.nic, port.protocol, port.address, port.guest) == (0, "tcp", "127.0.0.1", 22)
        with socket.create_connection((port.address, port.host), 5):
            pass
    failing = krundl.Passt(program=stubs.place / "files/passt-fails")
    with pytest.raises(krundl.NetworkError, match="before it served") as caught:
        krundl.launch(stubs.spec(nics=[krundl.Nic(passt=failing)]), library=stubs["runs"])
    assert caught.value.log == "No interface with a default route"


def test_a_vm_is_stopped(stubs: Stubs) -> None:
    stops: list[tuple[str, Callable[[krundl.Vm], object], int]] = [
        ("hangs", krundl.Vm.terminate, 143),
        ("hangs", krundl.Vm.kill, 137),
        ("hangs", krundl.Vm.stop, 143),
        ("runs", krundl.Vm.kill, 137),
        ("runs", lambda vm: vm.stop(grace=0.1), 137),
    ]
    for name, stop, status in stops:
        with stubs.launch(name) as vm:
            if name == "runs":
                vm.wait_ready(10)
            stop(vm)
            assert vm.wait() == status
            assert vm.exit is not None and vm.exit.kind == "stopped"
            stop(vm)  # One that has ended is no error.
            assert not os.path.exists(f"/proc/{vm.pid}")


def test_a_workload_that_is_up_is_asked_and_its_own_end_counts(stubs: Stubs) -> None:
    with stubs.launch("obeys") as vm:
        vm.wait_ready(10)
        assert vm.terminate()
        assert vm.wait(10) == 143
        assert vm.exit is not None and (vm.exit.kind, vm.exit.signal) == ("signal", 15)
    with stubs.launch("obeys") as vm:
        vm.wait_ready(10)
        assert vm.stop() == 143
    with stubs.launch("hangs") as vm:
        assert not vm.terminate(), "nobody is up who could be asked"


def test_leaving_the_block_ends_the_vm(stubs: Stubs) -> None:
    with stubs.launch("runs", stdin=krundl.PIPE, stdout=krundl.PIPE) as vm:
        assert vm.stdin is not None and vm.stdout is not None
    assert not os.path.exists(f"/proc/{vm.pid}")
    assert vm.stdin.closed and vm.stdout.closed
    with pytest.raises(ZeroDivisionError), stubs.launch("hangs") as vm:
        raise ZeroDivisionError
    assert not os.path.exists(f"/proc/{vm.pid}")


def test_a_vm_that_is_thrown_away_is_killed(stubs: Stubs) -> None:
    vm = stubs.launch("hangs")
    pid = vm.pid
    del vm
    assert not os.path.exists(f"/proc/{pid}")


def test_readiness_is_the_guests_first_word(stubs: Stubs) -> None:
    with stubs.launch("late") as vm:
        with pytest.raises(krundl.TimedOut):
            vm.wait_ready(0.01)
        vm.wait_ready()
        vm.wait_ready(0)
        assert vm.wait() == 0
    with stubs.launch("mute") as vm:
        with pytest.raises(krundl.ReadinessUnknown):
            vm.wait_ready()
        assert vm.wait() == 4
        assert vm.exit is not None and vm.exit.kind == "unproved" and not vm.exit.success


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("returns", krundl.StartError),
        ("crashes", krundl.Crashed),
        ("silent", krundl.NeverUp),
        ("unprepared", krundl.GuestSetup),
        ("vanishes", krundl.GuestLost),
    ],
)
def test_a_vm_that_did_not_do_what_it_was_for_is_an_exception(
    stubs: Stubs, name: str, kind: type[krundl.VmmFailed]
) -> None:
    with stubs.launch(name) as vm:
        for _ in range(2):
            with pytest.raises(kind):
                vm.wait(10)
            with pytest.raises(kind):
                vm.poll()
        assert (vm.returncode, vm.exit) == (125, None)
        assert "has failed" in repr(vm)


def test_what_is_stuck_before_libkrun_is_entered_is_given_up(stubs: Stubs, nothing_is_left: None) -> None:
    with pytest.raises(krundl.TimedOut, match="entering libkrun did not happen within 200 ms"):
        stubs.launch("stuck", start_timeout=0.2)


def test_the_log_is_kept_or_goes_to_a_file(stubs: Stubs, tmp_path: Path) -> None:
    with stubs.launch("crashes") as vm:
        with pytest.raises(krundl.Crashed):
            vm.wait()
        assert isinstance(vm.log, str)
    path = tmp_path / "log"
    path.write_text("before\n")
    with stubs.launch("succeeds", log=path) as vm:
        vm.wait()
    assert path.read_text().startswith("before\n")
    with path.open("r+") as file, stubs.launch("succeeds", log=file) as vm:
        vm.wait()
    with pytest.raises(FileNotFoundError):
        stubs.launch("succeeds", log=tmp_path / "missing/log")


def test_the_pidfd_tells_event_loops_of_the_end(stubs: Stubs) -> None:
    with stubs.launch("runs") as vm:
        assert select.select([vm], [], [], 0)[0] == []
        vm.kill()
        assert select.select([vm], [], [], 10)[0] == [vm]


def test_a_vm_that_is_let_go_is_the_callers_to_reap(stubs: Stubs) -> None:
    vm = stubs.launch("runs")
    pid = vm.detach()
    with pytest.raises(RuntimeError, match="let go"):
        vm.wait()
    del vm
    assert os.path.exists(f"/proc/{pid}")
    os.kill(pid, 9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9


def test_krun_launch_gives_a_process_number(stubs: Stubs) -> None:
    spec = stubs.spec().as_dict()
    nowhere = krundl.DEVNULL
    pid = krundl.krun_launch(spec, library=stubs["exits-7"], stdin=nowhere, stdout=nowhere, stderr=nowhere)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    with pytest.raises(krundl.InvalidSpec):
        krundl.krun_launch({"vcpus": 1}, library=stubs["exits-7"])


def test_a_vm_is_not_made_by_hand() -> None:
    with pytest.raises(TypeError, match="made by"):
        krundl.Vm()


def test_times_that_are_none_are_refused(stubs: Stubs) -> None:
    with stubs.launch("runs") as vm:
        with pytest.raises(ValueError, match="timeout"):
            vm.wait(float("nan"))
        with pytest.raises(krundl.TimedOut):
            vm.wait(-1)
        vm.kill()
        assert vm.wait(float("inf")) == 137
