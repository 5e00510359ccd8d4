"""Reports for notebooks. Whatever comes from a machine is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from . import _krundl

if TYPE_CHECKING:
    from ._reports import Check, Inspected, Levels, LibraryReport

_COLOURS = {
    "pass": "#2e7d32",
    "yes": "#2e7d32",
    "warn": "#b26a00",
    "unknown": "#b26a00",
    "no_effect": "#b26a00",
    "fail": "#c62828",
    "crash": "#c62828",
    "refuses": "#c62828",
}

_WORDS = {
    "yes": "there, and works",
    "absent": "not there",
    "refuses": "there, and refuses: this build lacks what it needs",
    "no_effect": "there, and does nothing: this build lacks what it needs",
    "unknown": "there; whether this build means it cannot be told",
}


def page(title: str, *parts: str) -> str:
    return f"<div><p><b>{escape(title)}</b></p>{''.join(parts)}</div>"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are HTML already."""
    heads = "".join(f"<th style='text-align:left'>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td style=text-align:left>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _coloured(state: str, text: str, hint: str = "") -> str:
    colour = _COLOURS.get(state, "#757575")
    title = f' title="{escape(hint)}"' if hint else ""
    return f'<span style="color:{colour}"{title}>{escape(text)}</span>'


def levels(found: Levels) -> str:
    names = _krundl.levels()
    return _table([name for name, _ in names], [[f"{getattr(found, name)} of {top}" for name, top in names]])


def matrix(library: LibraryReport) -> str:
    """The capability matrix: each of libkrun's functions, by group, and whether it does what its name says."""
    groups: dict[str, list[str]] = {}
    for name, group, since in _krundl.functions():
        state = library.support.get(name, "absent")
        hint = f"{_WORDS.get(state, state)}; since {since}"
        groups.setdefault(group, []).append(_coloured(state, name.removeprefix("krun_"), hint))
    return _table(["group", "functions"], [[escape(group), " ".join(cells)] for group, cells in groups.items()])


def checks(found: Iterable[Check]) -> str:
    rows = []
    for check in found:
        subject = f"{check.subject}: " if check.subject else ""
        fix = f"<pre>{escape(check.fix)}</pre>" if check.fix and check.status in ("warn", "fail", "crash") else ""
        rows.append([_coloured(check.status, check.status), escape(check.id), escape(subject + check.summary) + fix])
    return _table(["", "check", "what was found"], rows)


def inspected(file: Inspected) -> str:
    if file.error:
        return f"<p>{escape(file.error.message)}</p>"
    rows = []
    for part in file.parts:
        functions = part.functions or {}
        there = [name for name, there in functions.items() if there]
        release = part.version.range if part.version else ""
        cells = [part.architecture, part.soname or "", release, ", ".join(there)]
        rows.append([escape(cell) for cell in cells])
    return _table(["architecture", "soname", "libkrun", "functions"], rows)
