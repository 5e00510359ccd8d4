"""Among other processes, threads and signals: forks, reapers, Ctrl-C; and nothing is left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import krundl
import pytest
from support import Stubs, has_ended, sleeps


def test_nothing_is_left_after_fifty_launches(stubs: Stubs, nothing_is_left: None) -> None:
    probe = krundl.probe(stubs["exits-7"])
    for number in range(50):
        pipe = krundl.PIPE
        with krundl.launch(stubs.spec(), probe=probe, stdin=pipe, stdout=pipe, stderr=pipe) as vm:
            if number % 2:
                assert vm.wait() == 7


def test_nothing_is_left_after_fifty_failures(stubs: Stubs, nothing_is_left: None) -> None:
    for _ in range(25):
        with pytest.raises(krundl.CallError):
            stubs.launch("refuses", stdin=krundl.PIPE, stdout=krundl.PIPE, stderr=krundl.STDOUT)
        with pytest.raises(krundl.LibraryNotFound):
            krundl.probe(stubs["aborts"])


def test_threads_launch_and_wait_side_by_side(stubs: Stubs) -> None:
    probe = krundl.probe(stubs["late"])

    def one(_: int) -> int:
        with krundl.launch(stubs.spec(), probe=probe, stdin=krundl.DEVNULL) as vm:
            vm.wait_ready()
            return vm.wait()

    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(8))) == [0] * 8
    # Each takes 0.3 s and more: nobody keeps the others from running.
    assert time.monotonic() - started < 2


def test_one_thread_waits_while_another_one_kills(stubs: Stubs) -> None:
    with stubs.launch("runs") as vm, ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(vm.wait) for _ in range(3)]
        vm.wait_ready()
        assert isinstance(vm.log, str) and vm.poll() is None
        vm.kill()
        assert [wait.result(10) for wait in waiting] == [137] * 3


def test_a_vm_that_is_waited_for_cannot_be_let_go(stubs: Stubs) -> None:
    with stubs.launch("runs") as vm, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(vm.wait)
        while not waiting.running():
            time.sleep(0.001)
        time.sleep(0.05)
        with pytest.raises(RuntimeError, match="somebody waits"):
            vm.detach()
        vm.kill()
        waiting.result(10)


def test_somebody_else_may_reap_every_child(stubs: Stubs) -> None:
    """As a server that reaps all its children on SIGCHLD does."""
    with stubs.launch("late") as vm:
        os.waitpid(vm.pid, 0)
        assert vm.wait() == 0, "the guest's word counts"
    with stubs.launch("runs") as vm:
        vm.wait_ready()
        os.kill(vm.pid, signal.SIGKILL)
        os.waitpid(-1, 0)
        with pytest.raises(krundl.GuestLost) as caught:
            vm.wait()
        assert caught.value.details["ended"] == "unknown"
    with stubs.launch("runs") as vm:
        vm.kill()
        os.waitpid(-1, 0)
        vm.kill()
        assert vm.wait() == 137


def test_children_that_are_reaped_by_the_kernel_are_no_trouble(stubs: Stubs) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert krundl.probe(stubs["exits-7"]).levels.virtiofs == 4
        with stubs.launch("exits-7") as vm:
            assert vm.wait() == 7
    finally:
        signal.signal(signal.SIGCHLD, before)


def forked(work: object) -> int:
    """The exit status of a fork that does this."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()  # type: ignore[operator]
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_cannot_harm_its_parents_vm(stubs: Stubs) -> None:
    vms = [stubs.launch("runs")]
    watcher = vms[0]._raw.watch()
    kept = [watcher]
    vms[0].wait_ready()

    def child() -> None:
        with pytest.raises(krundl.InvalidArgument, match="belongs to process"):
            vms[0].kill()
        with pytest.raises(krundl.InvalidArgument, match="belongs to process"):
            vms[0].poll()
        assert vms[0].pid > 0
        vms[0].close()
        vms.clear()
        kept.clear()

    del watcher
    assert forked(child) == 0
    assert vms[0].poll() is None, "it runs on"
    vms[0].kill()
    assert vms[0].wait() == 137


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_has_vms_of_its_own(stubs: Stubs) -> None:
    krundl.probe(stubs["exits-7"])

    def child() -> None:
        with stubs.launch("exits-7") as vm:
            assert vm.wait() == 7

    assert forked(child) == 0


def launched(library: str, spec: str) -> int:
    with krundl.launch(spec, library=library, stdin=krundl.DEVNULL) as vm:
        return vm.wait()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_launches(stubs: Stubs, method: str) -> None:
    with multiprocessing.get_context(method).Pool(2) as pool:
        arguments = [(stubs["exits-7"], stubs.spec().to_json())] * 4
        assert pool.starmap(launched, arguments) == [7] * 4
        pool.close()
        pool.join()


WAITING = """
import sys, krundl, asyncio, signal
# A shell's job in the background begins with the signal ignored, and so do its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
how, library, spec = sys.argv[1:]
streams = dict(stdin=krundl.DEVNULL, stdout=krundl.DEVNULL, stderr=krundl.DEVNULL, new_session=True)
vm = krundl.launch(spec, library=library, **streams)
if how != "wait_ready":
    vm.wait_ready()
print(vm.pid, flush=True)
try:
    asyncio.run(vm.wait_async()) if how == "wait_async" else getattr(vm, how)()
except KeyboardInterrupt:
    print("interrupted", vm.poll(), flush=True)
    vm.close()
"""


@pytest.mark.parametrize(
    ("how", "library"), [("wait", "runs"), ("wait_ready", "hangs"), ("wait_async", "runs"), ("communicate", "runs")]
)
def test_ctrl_c_ends_the_waiting_and_not_the_vm(stubs: Stubs, how: str, library: str) -> None:
    command = [sys.executable, "-W", "error", "-c", WAITING, how, stubs[library], stubs.spec().to_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        wait_until_it_sleeps(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted None\n"
        assert process.wait(20) == 0
    assert not os.path.exists(f"/proc/{pid}")


def test_a_signal_whose_handler_returns_does_not_end_the_waiting(stubs: Stubs) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: heard.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        with stubs.launch("late") as vm:
            assert vm.wait(20) == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(heard) > 2


def wait_until_it_sleeps(pid: int) -> None:
    """In a poll of the kernel's, for a while."""
    asleep = 0
    for _ in range(1000):
        asleep = asleep + 1 if sleeps(pid) else 0
        if asleep > 20:
            return
        time.sleep(0.005)
    pytest.fail("it does not wait")


def test_a_vm_dies_with_a_python_that_is_killed(stubs: Stubs) -> None:
    script = WAITING.replace("new_session=True", "die_with_parent=True")
    command = [sys.executable, "-W", "error", "-c", script, "wait", stubs["runs"], stubs.spec().to_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
        process.wait()
    for _ in range(1000):
        if has_ended(pid):
            return
        time.sleep(0.005)
    pytest.fail("it runs on")


def test_a_python_that_ends_takes_its_vms_along(stubs: Stubs) -> None:
    script = "import sys, krundl; vm = krundl.launch(sys.argv[2], library=sys.argv[1]); print(vm.pid)"
    command = [sys.executable, "-W", "error", "-c", script, stubs["hangs"], stubs.spec().to_json()]
    pid = int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=30).stdout)
    assert not os.path.exists(f"/proc/{pid}")


def test_the_gil_is_released_while_a_vm_is_launched(stubs: Stubs) -> None:
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.wait(0.005):
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    with pytest.raises(krundl.TimedOut):
        stubs.launch("stuck", start_timeout=0.3)
    done.set()
    thread.join()
    assert ticks > 10
