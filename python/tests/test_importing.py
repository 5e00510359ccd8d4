"""Importing krundl costs nothing, loads nothing, and works on a machine that has nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import krundl
import pytest
from support import Stubs

HEAVY = {"asyncio", "ctypes", "dataclasses", "inspect", "json", "re", "selectors", "socket", "subprocess", "typing"}


def python(script: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-c", script, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_the_import_brings_nothing_that_is_heavy() -> None:
    script = "import sys; before = set(sys.modules); import krundl; print(*(set(sys.modules) - before))"
    loaded = set(python(script).split())
    assert {name for name in loaded if not name.startswith("krundl")} & HEAVY == set()
    assert {name for name in loaded if name.startswith("krundl")} == {"krundl", "krundl._errors", "krundl._krundl"}


def test_every_public_name_is_there_and_has_words() -> None:
    assert len(krundl.__all__) > 50
    assert set(krundl.__all__) <= set(dir(krundl))
    for name in krundl.__all__:
        value = getattr(krundl, name)
        if name not in ("PIPE", "STDOUT", "DEVNULL", "__version__"):
            assert value.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        krundl.colour  # type: ignore[attr-defined]  # noqa: B018


def test_the_names_are_those_that_type_checkers_see() -> None:
    source = Path(krundl.__file__).read_text()
    for_checkers = source.split("__all__ = [", 1)[1].split("]", 1)[0]
    assert sorted(for_checkers.replace('"', "").replace(",", " ").split()) == krundl.__all__
    assert (Path(krundl.__file__).parent / "py.typed").is_file()


def test_every_public_method_has_words() -> None:
    for name in krundl.__all__:
        kind = getattr(krundl, name)
        if not isinstance(kind, type):
            continue
        for member, value in vars(kind).items():
            if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                assert value.__doc__, f"{name}.{member}"


def test_libkrun_is_never_loaded_into_this_process(stubs: Stubs) -> None:
    script = """
import sys, krundl
library, spec = sys.argv[1:]
krundl.probe(library), krundl.doctor(library), krundl.inspect(library), krundl.plan(spec, library=library)
with krundl.launch(spec, library=library, stdin=krundl.DEVNULL) as vm:
    vm.wait()
print("libkrun" in open("/proc/self/maps").read().replace("/_krundl", ""))
"""
    assert python(script, stubs["exits-7"], stubs.spec().to_json()) == "False\n"


def answers(stubs: Stubs) -> dict[str, Callable[[], Any]]:
    spec = stubs.spec()
    return {
        "probe": krundl.probe,
        "check": lambda: krundl.check(spec),
        "plan": lambda: krundl.plan(spec),
        "launch": lambda: krundl.launch(spec),
        "krun_launch": lambda: krundl.krun_launch(spec.as_dict()),
        "launch_async": lambda: run(krundl.launch_async(spec)),
    }


def run(coroutine: Any) -> Any:
    import asyncio

    return asyncio.run(coroutine)


def test_without_libkrun_every_function_tells_what_to_install(no_libkrun: Callable[[], None], stubs: Stubs) -> None:
    no_libkrun()
    for name, ask in answers(stubs).items():
        with pytest.raises(krundl.LibraryNotFound, match="fix: install libkrun and libkrunfw"):
            pytest.fail(f"{name}: {ask()}")
    report = krundl.doctor()
    assert not report.ok and "install" in str(report)
    # These need none.
    assert krundl.inspect("/bin/sh")[0].parts[0].functions
    assert krundl.mount_commands(krundl.Mount(host="/h", tag="t"))
    assert krundl.missing_filesystems("")


def test_without_krundl_vmm_every_function_tells_what_to_install(stubs: Stubs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRUNDL_VMM", "/nowhere/krundl-vmm")
    for name, ask in answers(stubs).items():
        with pytest.raises(krundl.HelperNotFound, match="fix: install it beside") as caught:
            pytest.fail(f"{name}: {ask()}")
        assert caught.value.tried == ["/nowhere/krundl-vmm"]
    assert not krundl.doctor().ok
