"""The calls that a spec comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of one of libkrun's functions."""

    function: str
    """The function."""
    args: dict[str, Any]
    """Its arguments, by libkrun.h's names as far as they have some."""
    text: str
    """The call as a person would write it."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the child process does, in order."""

    library: str
    """The library's file; the child opens this very one."""
    firmware: str | None
    """The libkrunfw that it loads first, where the system's loader alone would not find it."""
    calls: list[Call]
    """The calls."""
    guest: dict[str, Any] | None
    """What krundl's program in the guest does; None where it does not run."""
    sockets: list[str]
    """Sockets that libkrun makes and krundl removes at the end."""
    notes: list[str]
    """What happens on the way that the user may not expect."""
    text: str
    """All of it as people read it."""
    data: dict[str, Any]
    """All of it as plain data."""

    def as_dict(self) -> dict[str, Any]:
        """The plan as `krundl plan --json` prints it."""
        return self.data

    def __str__(self) -> str:
        """As `krundl plan` prints it."""
        return self.text

    def __repr__(self) -> str:
        return f"<Plan of {len(self.calls)} calls for {self.library}>"


def of(data: dict[str, Any], shown: list[str], text: str) -> Plan:
    calls = [
        Call(function=call["function"], args=call.get("args") or {}, text=line)
        for call, line in zip(data["calls"], shown, strict=True)
    ]
    known = {name: data[name] for name in ("library", "firmware", "guest", "sockets", "notes")}
    return Plan(calls=calls, text=text, data=data, **known)
