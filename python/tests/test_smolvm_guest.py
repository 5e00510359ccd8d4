"""What is done in SmolVM's guests, without a guest; and the process of a VM as SmolVM wants it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from krundl.smolvm import _guest
from krundl.smolvm._process import Process
from krundl.smolvm._runtime import listeners
from test_smolvm_spec import Mount

ALL = "nodev\tproc\nnodev\tvirtiofs\nnodev\toverlay\n"


@dataclass
class Result:
    exit_code: int = 0
    stdout: str = ""
    stderr: str = ""


class Shell:
    """Answers a command by its beginning, and keeps all."""

    def __init__(self, filesystems: list[str], **answers: Result) -> None:
        self.filesystems = filesystems
        self.answers = answers
        self.commands: list[str] = []

    def run(self, command: str, timeout: int = 30) -> Result:
        assert timeout >= 1
        self.commands.append(command)
        if command == "cat /proc/filesystems":
            known = self.filesystems.pop(0) if len(self.filesystems) > 1 else self.filesystems[0]
            return Result(stdout=known)
        return self.answers.get(command.split()[0], Result())


def test_a_read_only_share_is_below_an_overlay_at_smolvms_paths() -> None:
    shell = Shell([ALL])
    _guest.mount(shell, [Mount(Path("/src"), "/work space")])
    assert shell.commands[1:] == [
        "mkdir -p -- /mnt/.smolvm-ws-workspace0 /tmp/.smolvm-ws-workspace0-upper"
        " /tmp/.smolvm-ws-workspace0-work '/work space'"
        " && mount -t virtiofs -o ro -- workspace0 /mnt/.smolvm-ws-workspace0"
        " && mount -t overlay -o lowerdir=/mnt/.smolvm-ws-workspace0,upperdir=/tmp/.smolvm-ws-workspace0-upper,"
        "workdir=/tmp/.smolvm-ws-workspace0-work -- overlay '/work space'"
    ]


def test_a_writable_share_is_itself_and_needs_no_overlay() -> None:
    shell = Shell(["nodev\tvirtiofs\n"])
    _guest.mount(shell, [Mount(Path("/out"), "/out", "out", writable=True)])
    assert shell.commands[1:] == ["mkdir -p -- /out && mount -t virtiofs -o rw -- out /out"]


def test_a_kernel_with_modules_is_helped() -> None:
    shell = Shell(["nodev\tproc\n", ALL])
    _guest.mount(shell, [Mount(Path("/src"))])
    assert shell.commands[1] == "for name in virtiofs overlay; do modprobe $name 2>/dev/null; done"
    assert shell.commands[3].startswith("mkdir")


@pytest.mark.parametrize(
    ("known", "missing", "option"),
    [
        ("nodev\toverlay\n", ["virtiofs"], "CONFIG_FUSE_FS and CONFIG_VIRTIO_FS"),
        ("nodev\tvirtiofs\n", ["overlay"], "CONFIG_OVERLAY_FS"),
        ("\text4\n\t9p\n", ["virtiofs", "overlay"], "CONFIG_VIRTIO_FS and CONFIG_OVERLAY_FS"),
    ],
)
def test_a_kernel_that_lacks_something_is_told(known: str, missing: list[str], option: str) -> None:
    with pytest.raises(_guest.NotMounted) as caught:
        _guest.mount(Shell([known]), [Mount(Path("/src"))])
    assert caught.value.details == {"missing_filesystems": missing}
    assert option in caught.value.message and "--backend qemu" in caught.value.message


def test_a_mount_that_fails_says_in_whose_words() -> None:
    shell = Shell([ALL], mkdir=Result(32, "", "mount: wrong fs type\n"))
    with pytest.raises(_guest.NotMounted, match="'workspace0' at /workspace: mount: wrong fs type") as caught:
        _guest.mount(shell, [Mount(Path("/src")), Mount(Path("/out"), "/out")])
    assert caught.value.details["exit_code"] == 32 and len(shell.commands) == 2


def test_a_guest_that_does_not_answer_is_told() -> None:
    class Silent(Shell):
        def run(self, command: str, timeout: int = 30) -> Result:
            return Result(1, "", "cat: not found")

    with pytest.raises(_guest.NotMounted, match="cat: not found"):
        _guest.mount(Silent([]), [Mount(Path("/src"))])


def test_the_guest_is_asked_in_the_background_and_restarts() -> None:
    shell = Shell([ALL])
    _guest.ask_to_end(shell, 0.2)
    (command,) = shell.commands
    assert command.endswith("&") and "reboot -f" in command and "sync" in command and "poweroff" not in command
    assert subprocess.run(["sh", "-n", "-c", command], check=False).returncode == 0


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that can be told to end, reaped by whoever comes first."""
    code = "import sys; sys.exit(int(sys.stdin.readline()))"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def told(child: subprocess.Popen[bytes], status: int) -> None:
    assert child.stdin is not None
    child.stdin.write(b"%d\n" % status)
    child.stdin.flush()


def test_a_process_feels_like_popen(child: subprocess.Popen[bytes]) -> None:
    process = Process(child.pid, ["vm"])
    assert process.poll() is None and process.returncode is None
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        process.wait(0.05)
    assert caught.value.cmd == ["vm"]
    told(child, 7)
    assert process.wait() == 7 and process.poll() == 7 and process.wait(0) == 7


def test_signals_are_negative(child: subprocess.Popen[bytes]) -> None:
    process = Process(child.pid, ["vm"])
    process.terminate()
    assert process.wait(10) == -signal.SIGTERM
    # It is gone, and its number may be somebody else's by now.
    process.kill()


def test_somebody_else_may_reap(child: subprocess.Popen[bytes]) -> None:
    process = Process(child.pid, ["vm"])
    told(child, 3)
    child.wait()
    assert process.poll() == 0


def test_a_server_answers_whoever_speaks_first() -> None:
    """What a passt that waits for the host's first word does to a server that waits, too."""

    def serve(listener: socket.socket, answer: bytes) -> None:
        connection, _ = listener.accept()
        with connection:
            if connection.recv(100).startswith(b"SSH-2.0-"):
                connection.sendall(answer)

    for answer, expected in ((b"SSH-2.0-dropbear\r\n", True), (b"220 mail\r\n", False), (b"", False)):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve, args=(listener, answer))
            thread.start()
            assert _guest.answers("127.0.0.1", listener.getsockname()[1], 0.5) is expected
            thread.join()
    # Nobody listens there.
    assert not _guest.answers("127.0.0.1", 1, 0.5)
    assert not _guest.answers("127.0.0.1", 1, 0.0)


def test_the_hosts_sockets_are_found_by_their_names(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        one.bind(os.fspath(tmp_path / "a.sock_5000"))
        other.bind(os.fspath(tmp_path / "b.sock_5000"))
        (tmp_path / "a.sock_5001").touch()
        (tmp_path / "a.sock_x").touch()
        assert listeners(tmp_path / "a.sock") == {5000: tmp_path / "a.sock_5000"}
    assert listeners(tmp_path / "missing" / "a.sock") == {}
