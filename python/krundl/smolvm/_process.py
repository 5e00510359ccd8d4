"""A VM's process, once it is let go, as SmolVM wants it: like `subprocess.Popen`."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time


class Process:
    """The process of a VM, a child of this one. It runs on when this object goes."""

    def __init__(self, pid: int, args: list[str]) -> None:
        self.pid = pid
        self.args = args
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """How the process ended, as `subprocess.Popen` has it, or None while it runs."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                # Somebody else has reaped it; Popen says the same then.
                self.returncode = 0
            else:
                if pid == self.pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end of the process. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout)
            self._sleep(left)
        assert self.returncode is not None
        return self.returncode

    def _sleep(self, seconds: float | None) -> None:
        """Until the process ends, or these seconds are over."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            # macOS, and kernels without it.
            time.sleep(0.05 if seconds is None else min(seconds, 0.05))
            return
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll(None if seconds is None else seconds * 1000)
        finally:
            os.close(descriptor)

    def send_signal(self, number: int) -> None:
        """Sends it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM: the VM ends at once, and the guest is not asked."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def __repr__(self) -> str:
        return f"<Process {self.pid}: {self.args!r}, {self.returncode}>"
