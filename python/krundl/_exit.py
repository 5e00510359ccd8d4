"""How a workload, or a further command in a guest, ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FAILED = 125
"""The return code where krundl, and not the workload, has something to say, as the command line has it."""


@dataclass(frozen=True, kw_only=True)
class Exit:
    """How the workload ended, on the guest's own word."""

    kind: Literal["code", "signal", "not_executed", "stopped", "unproved"]
    """It exited; a signal killed it; it could not be executed; the VM was stopped before it had ended; or the VM's process
    exited, and this libkrun has no way for the guest to say more."""
    status: int
    """As a shell would put it: the workload's own status, or 128 and the signal's number."""
    success: bool
    """Whether the workload ran and exited with status 0, on the guest's word."""
    signal: int | None
    """The signal, where there is one."""
    reason: str | None
    """Why it was not executed."""
    text: str
    """All of it in words."""

    def __str__(self) -> str:
        return self.text
