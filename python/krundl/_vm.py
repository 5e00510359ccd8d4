"""A running VM."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Literal

from . import _krundl
from ._errors import Error, InvalidArgument, TimedOut
from ._exit import FAILED, Exit
from ._guest import DEVNULL, PIPE, Reachable
from ._handle import Handle, wake

STDOUT = -2
"""As subprocess has it."""


@dataclass(frozen=True, kw_only=True)
class OpenPort:
    """A port of this host that leads to one of the guest."""

    nic: int
    """The card, by its index in the spec."""
    protocol: Literal["tcp", "udp"]
    """What it speaks."""
    address: str
    """The host's address on which it is open; 0.0.0.0 is all of them."""
    host: int
    """Its number on the host."""
    guest: int
    """Its number in the guest."""


class Vm(Handle, Reachable):
    """A VM that runs, or has ended; it feels like `subprocess.Popen`.

    Any thread may call any method at any time. Left by `with`, or thrown away, the VM is killed, unless it was let go
    with `detach`. In a fork of the process that launched it, it is of no use.

    Read its pipes with `communicate`, or wait besides: the guest waits up to two seconds at its end for somebody who
    hears its last word.
    """

    stdin: IO[bytes] | None
    """The workload's standard input, where it is a pipe."""
    stdout: IO[bytes] | None
    """Its standard output, where it is a pipe."""
    stderr: IO[bytes] | None
    """Its standard error, where it is a pipe."""

    def __init__(self) -> None:
        raise TypeError("a Vm is made by krundl.launch()")

    @classmethod
    def _made(cls, made: tuple[_krundl.Vm, Any, Any, Any]) -> Vm:
        vm = cls.__new__(cls)
        vm._raw, vm.stdin, vm.stdout, vm.stderr = made
        vm._exit = None
        vm._failed = False
        return vm

    _raw: _krundl.Vm
    _exit: Exit | None
    _failed: bool

    @property
    def pid(self) -> int:
        """The number of the VM's process, a child of this one."""
        return self._raw.pid

    @property
    def ports(self) -> list[OpenPort]:
        """The ports of this host that lead to the guest through a network card's own program, each with its number, also
        where the spec left that open."""
        return [OpenPort(**port) for port in self._raw.ports()]

    @property
    def control(self) -> str | None:
        """The socket of the control port, where the spec has one."""
        path = self._raw.control
        return None if path is None else os.fspath(path)

    def _socket(self) -> str:
        socket = self.control
        if socket is None:
            message = 'the VM\'s spec has no control port (control="private")'
            raise InvalidArgument(message, {"argument": "control", "reason": message})
        return socket

    def fileno(self) -> int:
        """The VM's pidfd, for event loops: it becomes readable when the process ends. It stays the VM's own."""
        pidfd = self._raw.pidfd
        if pidfd is None:
            raise OSError("this kernel has no pidfds")
        return pidfd

    @property
    def exit(self) -> Exit | None:
        """How the workload ended, once that was seen by `poll` or a wait."""
        return self._exit

    @property
    def returncode(self) -> int | None:
        """The exit's status, once it was seen: the workload's own, or 128 and a signal's number. 125 where krundl had
        something to say instead, with an exception. None until then."""
        if self._exit is None:
            return FAILED if self._failed else None
        return self._exit.status

    @property
    def log(self) -> str:
        """What libkrun has written so far: its log and its own words, at most about 128 KiB, the middle left out."""
        return self._raw.log().decode(errors="backslashreplace")

    def poll(self) -> int | None:
        """The return code, or None while the VM runs.

        Raises what `wait` does, once the VM has ended.
        """
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Waits until the VM has ended and returns the return code; `exit` has more.

        Raises TimedOut after `timeout` seconds, and the VM runs on. Raises VmmFailed where the workload's end is not on
        the guest's word: StartError, Crashed, NeverUp, GuestSetup, GuestLost.
        """
        status = self._look(timeout)
        if status is None:
            raise self._raw.timed_out("ended", timeout or 0.0)
        return status

    def wait_ready(self, timeout: float | None = None) -> None:
        """Waits for the guest's first word: everything is mounted and the workload runs.

        Raises TimedOut; ReadinessUnknown where this libkrun has no channel for it; whatever ended the VM before.
        """
        self._raw.wait_ready(timeout)

    async def wait_async(self, timeout: float | None = None) -> int:
        """As `wait`, on asyncio and without threads."""
        await self._until(lambda: self._look(0.0) is not None, timeout, "ended")
        status = self.returncode
        assert status is not None
        return status

    async def wait_ready_async(self, timeout: float | None = None) -> None:
        """As `wait_ready`, on asyncio and without threads."""

        def look() -> bool:
            try:
                self._raw.wait_ready(0.0)
            except TimedOut:
                return False
            return True

        await self._until(look, timeout, "ready")

    def terminate(self) -> bool:
        """Asks the workload to end: krundl's program in the guest sends it SIGTERM, and whatever it makes of that is told
        by `wait`. Where nobody there can hear (it is not up yet, or has no channel) the VM's process gets SIGTERM
        instead, which ends it at once. Returns whether the workload was asked."""
        return self._raw.terminate()

    def interrupt(self) -> None:
        """Presses ^C, as a terminal would: it reaches the workload if the workload's streams are the guest's console."""
        self._raw.interrupt()

    def kill(self) -> None:
        """Kills the VM's process (SIGKILL); the guest is not asked."""
        self._raw.kill()

    def stop(self, grace: float = 5.0) -> int:
        """Ends the VM and waits for it: as `terminate`, and `kill` when it still runs after `grace` seconds."""
        self.terminate()
        try:
            return self.wait(grace)
        except TimedOut:
            self.kill()
            return self.wait()

    def detach(self) -> int:
        """Lets the VM run on and returns the number of its process, which is the caller's to reap, with `os.waitpid`.
        Nobody keeps its log any more; its pipes stay open."""
        return self._raw.detach()

    def close(self) -> None:
        """Kills the VM, if it runs, reaps its process and closes the pipes."""
        self._raw.close()
        self._close_pipes()

    def communicate(
        self, input: bytes | None = None, timeout: float | None = None  # noqa: A002
    ) -> tuple[bytes | None, bytes | None]:
        """Writes `input` to the workload, reads its output to the end, waits for it, and returns what it wrote to each
        stream that is a pipe.

        Raises what `wait` does. After TimedOut it may be called again; what was read by then is kept.
        """
        from ._communicate import communicate

        return communicate(self, input, timeout)

    def _look(self, timeout: float | None) -> int | None:
        if self._exit is None:
            try:
                data = self._raw.wait(timeout)
            except Error:
                self._failed = True
                raise
            if data is None:
                return None
            self._exit = Exit(**data)
        return self._exit.status

    async def _entered(self, timeout: float) -> None:
        await self._until(self._raw.is_entered, timeout, "entered")

    async def _until(self, look: Callable[[], bool], timeout: float | None, what: str) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        watcher = self._raw.watch()
        while True:
            descriptors = watcher.descriptors()
            woken: asyncio.Future[None] = loop.create_future()
            alarm = None
            try:
                if look():
                    return
                if deadline is not None:
                    if loop.time() >= deadline:
                        raise self._raw.timed_out(what, timeout or 0.0)
                    alarm = loop.call_at(deadline, wake, woken)
                for descriptor in descriptors:
                    loop.add_reader(descriptor, wake, woken)
                await woken
            finally:
                if alarm is not None:
                    alarm.cancel()
                for descriptor in descriptors:
                    loop.remove_reader(descriptor)
                    os.close(descriptor)

    def _close_pipes(self) -> None:
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    # What was still to be written has nobody left to read it.
                    pass

    def __repr__(self) -> str:
        state = "has not been seen to end" if self.returncode is None else str(self._exit or "has failed")
        return f"<Vm {self.pid}: {state}>"


__all__ = ["DEVNULL", "PIPE", "STDOUT", "Exit", "OpenPort", "Vm"]
