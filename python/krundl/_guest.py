"""Into a running guest: further commands, figures, the request to end."""

from __future__ import annotations

import os
import signal as signals
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Union

from . import _krundl
from ._data import _plain_text as text_value
from ._errors import Error
from ._exit import Exit
from ._handle import Handle, wake

# As subprocess has them, without its price.
PIPE = -1
DEVNULL = -3

CONNECT_TIMEOUT = 10.0
"""How long a guest that is still starting may take to answer, in seconds."""

Arg = Union[str, bytes, "os.PathLike[str]"]
"""A part of a command: text of any bytes but NUL."""


class CommandFailed(Exception):
    """A command in a guest did not exit with status 0, and `check` asked for that."""

    def __init__(self, completed: Completed) -> None:
        super().__init__(f"{completed.args!r}: {completed.exit}")
        self.completed = completed
        """The command, with what it wrote."""


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A command in a guest that has ended."""

    args: Sequence[Arg]
    """What was run."""
    exit: Exit
    """How it ended."""
    stdout: bytes
    """What it wrote to its standard output; on a terminal everything."""
    stderr: bytes
    """What it wrote to its standard error."""

    @property
    def returncode(self) -> int:
        """Its status as a shell would put it: its own, 128 and a signal's number, 127 or 126 where it was not executed."""
        return self.exit.status

    def check_returncode(self) -> None:
        """Raises CommandFailed unless that is 0."""
        if self.returncode:
            raise CommandFailed(self)


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """Time of all processors together since the guest's kernel started, in milliseconds."""

    user_ms: int
    """In programs."""
    system_ms: int
    """In the kernel."""
    idle_ms: int
    """With nothing to do."""
    wait_ms: int
    """With nothing to do but to wait for a disk."""
    stolen_ms: int
    """Taken away by the host, as far as it says so."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory of the guest, in bytes."""

    total: int
    """What its kernel has to give."""
    free: int
    """In use for nothing."""
    available: int
    """What programs could still get without swapping, by the kernel's estimate."""
    cached: int
    """Files kept in memory."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the guest's kernel says of the machine at one moment. A figure that it does not have is 0."""

    uptime_ms: int
    """Since the guest's kernel started, in milliseconds."""
    cpus: int
    """Processors that are running."""
    cpu: Cpu
    """Their time."""
    memory: Memory
    """Memory."""
    load: tuple[float, float, float]
    """Processes that run or wait for a disk, on average over 1, 5 and 15 minutes."""
    processes: int
    """Processes that there are."""

    def busy_since(self, earlier: Figures) -> float | None:
        """How busy the processors were since earlier figures of the same guest: 0 to 1, of all of them together. None
        where no time has passed."""

        def times(cpu: Cpu) -> tuple[int, int]:
            busy = cpu.user_ms + cpu.system_ms + cpu.stolen_ms
            return busy, busy + cpu.idle_ms + cpu.wait_ms

        (busy, whole), (busy_before, whole_before) = times(self.cpu), times(earlier.cpu)
        return (busy - busy_before) / (whole - whole_before) if whole > whole_before else None


class Command(Handle):
    """A command that runs in a guest, or has ended. Data flows while somebody waits for it.

    Left by `with`, closed or thrown away, it is killed in the guest with its process group.
    """

    def __init__(self) -> None:
        raise TypeError("a Command is made by popen()")

    _raw: _krundl.GuestCommand
    _exit: Exit | None
    args: Sequence[Arg]
    """What is run."""

    @classmethod
    def _made(cls, raw: _krundl.GuestCommand, args: Sequence[Arg]) -> Command:
        command = cls.__new__(cls)
        command._raw, command._exit, command.args = raw, None, args
        command._stdout, command._stderr = bytearray(), bytearray()
        return command

    _stdout: bytearray
    _stderr: bytearray

    @property
    def pid(self) -> int | None:
        """Its number in the guest; None where it was not executed."""
        return self._raw.pid

    @property
    def exit(self) -> Exit | None:
        """How it ended, once that was seen by `poll` or a wait."""
        return self._exit

    @property
    def returncode(self) -> int | None:
        """The exit's status, once it was seen."""
        return None if self._exit is None else self._exit.status

    @property
    def stdout(self) -> bytes:
        """What was captured of its standard output so far, where that is a PIPE."""
        self._stdout += self._raw.take_output()
        return bytes(self._stdout)

    @property
    def stderr(self) -> bytes:
        """What was captured of its standard error so far, where that is a PIPE."""
        self._stderr += self._raw.take_errors()
        return bytes(self._stderr)

    def poll(self) -> int | None:
        """The return code, or None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Waits until it has ended and everything that it wrote is where it belongs, and returns the return code.

        Raises TimedOut after `timeout` seconds, and it runs on; ControlLost when the guest ends first.
        """
        status = self._look(timeout)
        if status is None:
            raise self._raw.timed_out(timeout or 0.0)
        return status

    async def wait_async(self, timeout: float | None = None) -> int:
        """As `wait`, on asyncio and without threads."""
        import asyncio

        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while self._exit is None:
            data = self._raw.advance()
            if data is not None:
                self._exit = Exit(**data)
                break
            if deadline is not None and loop.time() >= deadline:
                raise self._raw.timed_out(timeout or 0.0)
            await self._woken(loop, deadline)
        return self._exit.status

    async def _woken(self, loop: Any, deadline: float | None) -> None:
        woken = loop.create_future()
        alarm = None if deadline is None else loop.call_at(deadline, wake, woken)
        # Copies, because the same descriptor may be watched twice.
        watched: list[tuple[int, Any]] = []
        try:
            for fd, readable, writable in self._raw.interests():
                for wanted, add, remove in (
                    (readable, loop.add_reader, loop.remove_reader),
                    (writable, loop.add_writer, loop.remove_writer),
                ):
                    if wanted:
                        copy = os.dup(fd)
                        watched.append((copy, remove))
                        try:
                            add(copy, wake, woken)
                        except PermissionError:
                            # A regular file, which epoll does not take: it is always ready.
                            wake(woken)
            await woken
        finally:
            if alarm is not None:
                alarm.cancel()
            for fd, remove in watched:
                remove(fd)
                os.close(fd)

    def send_signal(self, number: int) -> None:
        """Sends a signal to it and its process group."""
        self._raw.signal(int(number))

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(signals.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signals.SIGKILL)

    def resize(self, rows: int, columns: int) -> None:
        """Tells its terminal its size."""
        self._raw.resize(rows, columns)

    def close(self) -> None:
        """Closes the connection; if it runs, the guest kills it with its process group."""
        self._raw.close()

    def _look(self, timeout: float | None) -> int | None:
        if self._exit is None:
            data = self._raw.wait(timeout)
            if data is None:
                return None
            self._exit = Exit(**data)
        return self._exit.status

    def __repr__(self) -> str:
        state = "has not been seen to end" if self._exit is None else str(self._exit)
        return f"<Command {self.args!r}: {state}>"


class Reachable:
    """What can be asked of a guest with a control port."""

    def _socket(self) -> str:
        raise NotImplementedError

    def popen(
        self,
        args: Sequence[Arg],
        *,
        input: bytes | None = None,  # noqa: A002
        stdin: int | IO[Any] | None = DEVNULL,
        stdout: int | IO[Any] | None = PIPE,
        stderr: int | IO[Any] | None = PIPE,
        env: Mapping[str, Arg] | None = None,
        clear_env: bool = False,
        cwd: Arg | None = None,
        user: int | None = None,
        group: int | None = None,
        terminal: tuple[int, int] | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
    ) -> Command:
        """Starts a command in the guest. `args[0]` is the program, a path or a name.

        `input` are bytes for its standard input, `stdin` a descriptor. PIPE captures an output, None hands it on to our
        own. Variables come on top of the workload's, or with `clear_env` alone; user and group are numbers; `terminal` is
        the size (rows, columns) of a terminal of its own.

        Raises ControlLost, GuestSetup (working directory, user, terminal), InvalidArgument. That the program is not
        there is no exception but how it ended: `returncode` 127, or 126.
        """
        import json

        if not args:
            raise ValueError("a command has at least the program")
        command = {
            "path": text_value(args[0]),
            "args": [text_value(arg) for arg in args[1:]],
            "env": {name: text_value(value) for name, value in (env or {}).items()},
            "clear_env": clear_env,
            "workdir": None if cwd is None else text_value(cwd),
            "uid": user,
            "gid": group,
            "terminal": terminal is not None,
        }
        rows, columns = terminal or (0, 0)
        raw = _krundl.exec_start(
            self._socket(), json.dumps(command), rows, columns, input, stdin, stdout, stderr, connect_timeout
        )
        return Command._made(raw, args)

    def exec(
        self,
        args: Sequence[Arg],
        *,
        input: bytes | None = None,  # noqa: A002
        timeout: float | None = None,
        check: bool = False,
        **options: Any,
    ) -> Completed:
        """Runs a command in the guest to its end, as `subprocess.run` does, and captures what it writes.

        `options` are those of `popen`. After `timeout` seconds it is killed and TimedOut raised; with `check` a status
        other than 0 raises CommandFailed.
        """
        with self.popen(args, input=input, **options) as command:
            command.wait(timeout)
            return _completed(command, check)

    async def exec_async(
        self,
        args: Sequence[Arg],
        *,
        input: bytes | None = None,  # noqa: A002
        timeout: float | None = None,
        check: bool = False,
        **options: Any,
    ) -> Completed:
        """As `exec`, on asyncio and without threads; a guest that does not answer yet is not waited for."""
        options.setdefault("connect_timeout", 0.0)
        async with self.popen(args, input=input, **options) as command:
            await command.wait_async(timeout)
            return _completed(command, check)

    def figures(self, connect_timeout: float = CONNECT_TIMEOUT) -> Figures:
        """The guest's figures: memory, processors' time, load, uptime. Raises ControlLost."""
        data = _krundl.figures(self._socket(), connect_timeout)
        data.update(cpu=Cpu(**data["cpu"]), memory=Memory(**data["memory"]), load=tuple(data["load"]))
        return Figures(**data)


def _completed(command: Command, check: bool) -> Completed:
    assert command.exit is not None
    completed = Completed(args=command.args, exit=command.exit, stdout=command.stdout, stderr=command.stderr)
    if check:
        completed.check_returncode()
    return completed


class Guest(Reachable):
    """A guest that some process of this user runs, by its VM's name or the path of its control socket (with a slash).

    Raises InvalidArgument where no VM runs under the name.
    """

    def __init__(self, name: str | os.PathLike[str]) -> None:
        self._path = os.fspath(_krundl.control_socket(os.fspath(name)))

    def _socket(self) -> str:
        return self._path

    def terminate(self, connect_timeout: float = CONNECT_TIMEOUT) -> None:
        """Asks the workload to end: it gets SIGTERM, and whoever launched the VM hears what it made of that."""
        _krundl.terminate(self._path, connect_timeout)

    def __repr__(self) -> str:
        return f"Guest({self._path!r})"


def guests() -> dict[str, Guest]:
    """The VMs of this user that run under a name (`krundl run --name`)."""
    found = {}
    for vm in _krundl.named():
        try:
            found[vm["name"]] = Guest(vm["name"])
        except Error:
            # It has ended in between.
            continue
    return found


__all__ = ["Command", "CommandFailed", "Completed", "Cpu", "Figures", "Guest", "Memory", "Reachable", "guests"]
