"""What can go wrong: a class for each code of docs/errors.md."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

    from ._reports import Attempt, Problem


class Error(Exception):
    """What all of krundl's exceptions are."""

    code: ClassVar[int] = 0
    """The number of the error, the same in Rust, C and JSON; 0 for a class that stands for several."""
    name: ClassVar[str] = "Error"
    """Its name there."""

    message: str
    """What went wrong, and what would mend it."""
    details: dict[str, Any]
    """Everything that the error holds, as plain data."""

    def __init__(self, message: str, details: dict[str, Any] | None = None) -> None:
        # Not super(): that of an OSError would take the two for a number and its text.
        Exception.__init__(self, message, details or {})
        self.message = message
        self.details = details or {}

    def __str__(self) -> str:
        return self.message

    def as_dict(self) -> dict[str, Any]:
        """The error as plain data: `code`, `name`, `message`, and what is in `details`."""
        return {"code": self.code, "name": self.name, "message": self.message, **self.details}


class LibraryNotFound(Error):
    """No candidate is a libkrun that opens."""

    code = 100
    name = "LibraryNotFound"

    @property
    def attempts(self) -> list[Attempt]:
        """Every candidate, in the order in which they were tried, with the loader's own words."""
        from ._reports import Attempt

        return [Attempt.from_dict(attempt) for attempt in self.details.get("attempts", [])]


class GenerationUnknown(Error):
    """The library speaks an API generation that krundl does not."""

    code = 101
    name = "GenerationUnknown"


class LibraryChanged(Error):
    """The library is not the one that was probed."""

    code = 102
    name = "LibraryChanged"


class _Refused(Error):
    @property
    def problems(self) -> list[Problem]:
        """Every problem, each with its field, the reason and what would mend it."""
        from ._reports import Problem

        return [Problem.from_dict(problem) for problem in self.details.get("problems", [])]


class InvalidSpec(_Refused, ValueError):
    """The spec is wrong in itself or on this host."""

    code = 200
    name = "InvalidSpec"


class Unsupported(_Refused):
    """This libkrun cannot do what the spec asks for."""

    code = 201
    name = "Unsupported"


class HelperNotFound(Error):
    """The helper program krundl-vmm was not found."""

    code = 300
    name = "HelperNotFound"

    @property
    def tried(self) -> list[str]:
        """Where it was looked for."""
        return list(self.details.get("tried", []))


class HelperMismatch(Error):
    """The helper is of another version, or is no krundl-vmm at all."""

    code = 301
    name = "HelperMismatch"


class _Logged(Error):
    @property
    def log(self) -> str:
        """What libkrun, its process or the guest's kernel wrote: the end of it, without control characters."""
        return str(self.details.get("log", ""))

    @property
    def function(self) -> str | None:
        """The function of libkrun that refused, or in which its process died or was given up; None if not known."""
        return self.details.get("function")


class HelperFailed(_Logged):
    """The helper could not be started, or stopped in the middle of a sentence."""

    code = 302
    name = "HelperFailed"


class NetworkError(_Logged):
    """A program that krundl starts for a network card could not be started, or ended before it served."""

    code = 303
    name = "Network"


class CallError(_Logged):
    """One of libkrun's functions refused."""

    code = 400
    name = "Call"

    @property
    def errno(self) -> int:
        """Its errno, positive."""
        return int(self.details.get("errno", 0))


class VmmFailed(_Logged):
    """The VM did not do what it was for: what StartError, Crashed, NeverUp, GuestSetup and GuestLost have in common."""


class StartError(VmmFailed):
    """krun_start_enter came back instead of running the VM."""

    code = 401
    name = "Start"

    @property
    def errno(self) -> int:
        """Its errno, positive."""
        return int(self.details.get("errno", 0))


class Crashed(VmmFailed):
    """libkrun's process died before the guest was up."""

    code = 402
    name = "Crashed"


class NeverUp(VmmFailed):
    """The VM ended without the guest ever having been up."""

    code = 403
    name = "NeverUp"


class GuestSetup(VmmFailed):
    """Our program in the guest could not prepare the workload."""

    code = 404
    name = "GuestSetup"


class GuestLost(VmmFailed):
    """The guest was up and vanished without telling how the workload ended."""

    code = 405
    name = "GuestLost"


class TimedOut(_Logged, TimeoutError):
    """The time given was over. The VM runs on, unless it is its start that took too long."""

    code = 406
    name = "TimedOut"


class ReadinessUnknown(Error):
    """Readiness cannot be told with this libkrun."""

    code = 407
    name = "ReadinessUnknown"


class ControlLost(Error):
    """The guest's control port cannot be reached, or the conversation broke off."""

    code = 408
    name = "ControlLost"


class OsError(Error, OSError):
    """The operating system refused something that krundl itself needs."""

    code = 500
    name = "Os"

    def __init__(self, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message, details)
        self.errno = self.details.get("errno")


class InvalidArgument(Error, ValueError):
    """A function of krundl was given something that it cannot take."""

    code = 600
    name = "InvalidArgument"


class Internal(Error):
    """krundl itself has failed, which is a mistake in it."""

    code = 601
    name = "Internal"


def _with_codes(base: type[Error]) -> dict[str, type[Error]]:
    found = {base.name: base} if base.code else {}
    for subclass in base.__subclasses__():
        found.update(_with_codes(subclass))
    return found


_CLASSES = _with_codes(Error)


def make(name: str, code: int, message: str, details: dict[str, Any]) -> Error:
    """The exception of a name; one of a code that this package does not know is an `Error` with that code."""
    exception = _CLASSES.get(name, Error)(message, details)
    if not exception.code:
        vars(exception).update(code=code, name=name)
    return exception
