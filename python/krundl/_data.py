"""What the generated classes have in common."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from . import _krundl

if TYPE_CHECKING:
    from ._reports import DoctorReport, Inspected, LibraryReport, Part, ProbeReport, Problem

T = TypeVar("T", bound="Data")


class Data:
    """Plain data that comes from a dictionary or JSON and goes back."""

    _nested: ClassVar[Mapping[str, tuple[str, type[Data]]]] = {}

    @classmethod
    def from_dict(cls: type[T], data: Mapping[str, Any]) -> T:
        """From a dictionary with the names of the JSON. A name that is unknown or missing is a TypeError."""
        return _build(cls, data)

    @classmethod
    def from_json(cls: type[T], text: str | bytes) -> T:
        """From JSON."""
        import json

        return cls.from_dict(json.loads(text))

    def as_dict(self) -> dict[str, Any]:
        """The same as dictionaries, lists, strings and numbers, every field written out."""
        return {f.name.rstrip("_"): _plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]

    def to_json(self, *, indent: int | None = None) -> str:
        """The same as JSON."""
        import json

        return json.dumps(self.as_dict(), indent=indent)


def _build(cls: type[T], data: Mapping[str, Any]) -> T:
    nested = cls._nested
    made = {}
    for name, value in data.items():
        shape, of = nested.get(name, ("", Data))
        if shape == "one" and isinstance(value, Mapping):
            value = _build(of, value)
        elif shape == "list" and value is not None:
            value = [_build(of, item) if isinstance(item, Mapping) else item for item in value]
        elif shape == "dict" and value is not None:
            value = {key: _build(of, item) if isinstance(item, Mapping) else item for key, item in value.items()}
        elif not shape:
            value = _text(value)
        made["from_" if name == "from" else name] = value
    return cls(**made)


def _text(value: Any) -> Any:
    """Text that is not UTF-8 is `{"bytes": [...]}` in JSON."""
    if isinstance(value, Mapping):
        if value.keys() == {"bytes"} and isinstance(value["bytes"], list):
            return bytes(value["bytes"])
        return {key: _text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_text(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Data):
        return value.as_dict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (str, bytes, os.PathLike)):
        return _plain_text(value)
    return value


def _plain_text(value: str | bytes | os.PathLike[Any]) -> Any:
    raw = os.fspath(value)
    try:
        if isinstance(raw, bytes):
            return raw.decode()
        raw.encode()
        return raw
    except UnicodeError:
        return {"bytes": list(os.fsencode(raw))}


class _SpecBase(Data):
    @classmethod
    def from_dict(cls: type[T], data: Mapping[str, Any]) -> T:
        """From a dictionary with the names of the JSON.

        Raises InvalidSpec with every unknown, missing or malformed field.
        """
        import json

        return _build(cls, _krundl.parse(json.dumps(_plain(data))))

    @classmethod
    def from_json(cls: type[T], text: str | bytes) -> T:
        """From JSON.

        Raises InvalidSpec with every unknown, missing or malformed field.
        """
        return _build(cls, _krundl.parse(text if isinstance(text, str) else text.decode()))


class _ProblemBase(Data):
    def __str__(self: Problem) -> str:  # type: ignore[misc]
        text = f"{self.field}: {self.reason}"
        if self.needs:
            built = f", built with: {self.needs.built_with}" if self.needs.built_with else ""
            text += f"; needs {self.needs.function} (libkrun {self.needs.since}{built})"
        return f"{text}; fix: {self.fix}" if self.fix else text

    def __repr__(self: Problem) -> str:  # type: ignore[misc]
        return f"<Problem {self}>"


class _LibraryBase(Data):
    def __repr__(self: LibraryReport) -> str:  # type: ignore[misc]
        there = sum(self.functions.values())
        return (
            f"<LibraryReport libkrun {self.version.range} at {self.real_path},"
            f" {there} of {len(self.functions)} functions>"
        )

    def _repr_html_(self: LibraryReport) -> str:  # type: ignore[misc]
        from ._html import matrix, page

        return page(repr(self), matrix(self))


class _ProbeBase(Data):
    _probed: ClassVar[_krundl.Probed | None] = None

    def _remember(self, probed: _krundl.Probed) -> None:
        # Not a field: it is what Rust makes plans from, and the fields are what people read.
        object.__setattr__(self, "_probed", probed)

    def __repr__(self: ProbeReport) -> str:  # type: ignore[misc]
        levels = ", ".join(f"{name} {getattr(self.levels, name)}/{top}" for name, top in _krundl.levels())
        return f"<ProbeReport libkrun {self.library.version.range} at {self.library.real_path}: {levels}>"

    def _repr_html_(self: ProbeReport) -> str:  # type: ignore[misc]
        from ._html import levels, matrix, page

        return page(repr(self), levels(self.levels), matrix(self.library))


class _DoctorBase(Data):
    _text: ClassVar[str] = ""

    def _remember(self, text: str) -> None:
        object.__setattr__(self, "_text", text)

    @property
    def ok(self: DoctorReport) -> bool:  # type: ignore[misc]
        """Whether nothing is in the way."""
        return not any(check.status in ("fail", "crash") for check in self.checks)

    def __str__(self) -> str:
        """As `krundl doctor` prints it."""
        return self._text

    def __repr__(self: DoctorReport) -> str:  # type: ignore[misc]
        library = self.library
        which = f"libkrun {library.version.range} at {library.real_path}" if library else "no libkrun"
        counts: dict[str, int] = {}
        for check in self.checks:
            counts[check.status] = counts.get(check.status, 0) + 1
        return f"<DoctorReport {which}: {', '.join(f'{count} {status}' for status, count in counts.items())}>"

    def _repr_html_(self: DoctorReport) -> str:  # type: ignore[misc]
        from ._html import checks, levels, matrix, page

        parts = [checks(self.checks)]
        if self.levels:
            parts.append(levels(self.levels))
        if self.library:
            parts.append(matrix(self.library))
        return page(repr(self), *parts)


class _InspectedBase(Data):
    _text: ClassVar[str] = ""

    def _remember(self, text: str) -> None:
        object.__setattr__(self, "_text", text)

    def __str__(self) -> str:
        """As `krundl inspect` prints it."""
        return self._text

    def __repr__(self: Inspected) -> str:  # type: ignore[misc]
        what = self.error.message if self.error else ", ".join(map(repr, self.parts))
        return f"<Inspected {self.path}: {what}>"

    def _repr_html_(self: Inspected) -> str:  # type: ignore[misc]
        from ._html import inspected, page

        return page(f"<Inspected {self.path}>", inspected(self))


class _PartBase(Data):
    def __repr__(self: Part) -> str:  # type: ignore[misc]
        there = sum((self.functions or {}).values())
        what = f"libkrun {self.version.range}" if self.version else "no libkrun"
        return f"<Part {self.architecture}, {self.soname or 'no soname'}, {what}, {there} of libkrun's functions>"
