"""Into a running guest. What plays it here speaks as docs/control.md has it; real ones are in test_guests.py."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import krundl
import pytest
from support import Stubs

HELLO = b"\x01\x12\0\0\0krundl-control\x01\0\0\0"


def frame(kind: int, content: bytes = b"") -> bytes:
    return struct.pack("<BI", kind, len(content)) + content


def number(value: int) -> bytes:
    return struct.pack("<I", value)


def text(value: bytes) -> bytes:
    return number(len(value)) + value


STARTED = HELLO + frame(2, number(42))
OUTPUT = frame(129, b"out") + frame(130, b"err")

Play = Callable[[bytes], krundl.Guest]


@pytest.fixture
def play(tmp_path: Path, nothing_is_left: None) -> Iterator[Play]:
    """Guests that take one connection, say this, and wait for the host to go."""
    threads: list[threading.Thread] = []

    def play(said: bytes) -> krundl.Guest:
        path = tmp_path / f"guest{len(threads)}"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(1)

        def serve() -> None:
            with listener, listener.accept()[0] as host:
                host.sendall(said)
                while host.recv(4096):
                    pass

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return krundl.Guest(path)

    yield play
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_a_command_is_run_as_subprocess_does(play: Play) -> None:
    done = play(STARTED + OUTPUT + frame(3, number(7))).exec(["sh", "-c", b"\xff"], env={"A": "1"}, cwd="/", user=1)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out", b"err")
    assert done.exit.kind == "code"
    with pytest.raises(krundl.CommandFailed) as raised:
        play(STARTED + frame(4, number(9))).exec(["sh"], check=True)
    assert raised.value.completed.returncode == 137
    missing = play(HELLO + frame(5, number(2) + text(b"none"))).exec(["none"])
    assert (missing.returncode, missing.exit.kind, missing.exit.reason) == (127, "not_executed", "none")
    with pytest.raises(krundl.GuestSetup, match="why"):
        play(HELLO + frame(6, number(2) + text(b"why"))).exec(["sh"])
    with pytest.raises(krundl.ControlLost):
        play(STARTED + frame(200)).exec(["sh"])
    with pytest.raises(krundl.TimedOut):
        play(STARTED).exec(["sleep"], timeout=0.05)


def test_a_command_that_runs_has_no_return_code(play: Play) -> None:
    with play(STARTED + OUTPUT).popen(["sleep", "100"]) as command:
        assert (command.pid, command.returncode) == (42, None)
        while command.stdout != b"out" or command.stderr != b"err":
            assert command.poll() is None
        command.terminate()
        command.resize(24, 80)
        with pytest.raises(krundl.TimedOut):
            command.wait(0.01)


def test_streams_may_be_the_callers(play: Play, tmp_path: Path) -> None:
    with open(tmp_path / "out", "w+b") as out:
        guest = play(STARTED + OUTPUT + frame(3, number(0)))
        with guest.popen(["sh"], input=b"in", stdout=out, stderr=krundl.DEVNULL) as command:
            assert command.wait() == 0
        assert (tmp_path / "out").read_bytes() == b"out"
    with pytest.raises(ValueError, match="program"):
        krundl.Guest(tmp_path / "none").exec([])


def test_commands_on_asyncio(play: Play, tmp_path: Path) -> None:
    async def all_of_it() -> None:
        said = STARTED + OUTPUT + frame(3, number(7))
        first, second = play(said), play(said)
        both = await asyncio.gather(first.exec_async(["a"], input=b"x" * 100), second.exec_async(["b"]))
        assert [done.stdout for done in both] == [b"out", b"out"]
        with pytest.raises(krundl.TimedOut):
            await play(STARTED).exec_async(["sleep"], timeout=0.05)
        task = asyncio.ensure_future(play(STARTED).exec_async(["sleep"]))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # A regular file is always ready, and epoll does not take it.
        with open(os.devnull, "rb") as empty, open(tmp_path / "out", "wb") as out:
            async with play(said).popen(["a"], stdin=empty, stdout=out) as command:
                assert await command.wait_async(20) == 7

    asyncio.run(all_of_it())


def test_figures(play: Play) -> None:
    figures = [(b"memory_total", 1 << 32), (b"load_1_milli", 1500), (b"cpu_user_ms", 30), (b"cpu_idle_ms", 70)]
    content = number(len(figures)) + b"".join(text(name) + struct.pack("<Q", value) for name, value in figures)
    found = play(HELLO + frame(7, content)).figures()
    assert (found.memory.total, found.load, found.processes) == (1 << 32, (1.5, 0.0, 0.0), 0)
    nothing = play(HELLO + frame(7, number(0))).figures()
    assert found.busy_since(nothing) == pytest.approx(0.3)
    assert nothing.busy_since(found) is None
    play(HELLO + frame(8)).terminate()


def test_names_and_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert krundl.guests() == {}
    with pytest.raises(krundl.InvalidArgument, match="no VM of this user"):
        krundl.Guest("web")
    with pytest.raises(krundl.ControlLost, match="no such socket"):
        krundl.Guest("/no/such/socket").figures(0.0)


def test_a_vm_knows_its_port(stubs: Stubs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with krundl.launch(stubs.spec(control="private"), library=stubs["hangs"]) as vm:
        assert vm.control is not None and Path(vm.control).parent.is_dir()
        assert str(tmp_path) in vm.control
    assert not Path(vm.control).parent.exists()
    with stubs.launch("hangs") as vm:
        assert vm.control is None
        with pytest.raises(krundl.InvalidArgument, match="no control port"):
            vm.exec(["true"])
