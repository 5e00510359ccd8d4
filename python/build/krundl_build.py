"""Builds the wheel and the sdist: maturin's own hooks, and the programs and licences that belong into the wheel.

`krundl-vmm` and `krundl` are Rust programs of the same crate as the module. They are built first and put where maturin
finds a wheel's scripts, so that pip installs them into the `bin` of its environment, where the module looks for them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

import maturin  # type: ignore[import-untyped]

PROFILE = "dist"
# Quick to build again, for whoever changes something: the same as `editable-profile` in pyproject.toml.
EDITABLE_PROFILE = "dev"
PROGRAMS = ("krundl", "krundl-vmm")
ROOT = Path(__file__).resolve().parents[2]
BESIDE_THE_MODULE = ROOT / "python/krundl/krundl-vmm"
SCRIPTS = ROOT / "target/python/krundl.data/scripts"
# pyproject.toml names it among the licences.
THIRD_PARTY = ROOT / "python/third-party.txt"
LICENSES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE")

Settings = Optional[dict[str, Any]]

get_requires_for_build_sdist = maturin.get_requires_for_build_sdist
get_requires_for_build_wheel = maturin.get_requires_for_build_wheel
get_requires_for_build_editable = maturin.get_requires_for_build_editable


def build_sdist(directory: str, settings: Settings = None) -> str:
    with_what_maturin_takes()
    return str(maturin.build_sdist(directory, settings))


def build_wheel(directory: str, settings: Settings = None, metadata: str | None = None) -> str:
    programs = build_programs()
    with_what_maturin_takes()
    return str(maturin.build_wheel(directory, with_tag(settings, programs), metadata))


def build_editable(directory: str, settings: Settings = None, metadata: str | None = None) -> str:
    # Where a module that is used in place finds it: the environment's `bin` may be anywhere from there.
    programs = build_programs(EDITABLE_PROFILE)
    shutil.copy2(programs[PROGRAMS.index("krundl-vmm")], BESIDE_THE_MODULE)
    with_what_maturin_takes()
    return str(maturin.build_editable(directory, settings, metadata))


def prepare_metadata_for_build_wheel(directory: str, settings: Settings = None) -> str:
    with_what_maturin_takes()
    return str(maturin.prepare_metadata_for_build_wheel(directory, settings))


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def with_what_maturin_takes() -> None:
    """maturin wants the programs' directory and the licences to be there, whatever it is asked for."""
    SCRIPTS.mkdir(parents=True, exist_ok=True)
    THIRD_PARTY.write_text(third_party(), encoding="utf-8")


def build_programs(profile: str = PROFILE) -> list[Path]:
    """Builds the programs and puts them where maturin takes them from."""
    command = ["cargo", "build", "--profile", profile, "--package", "krundl", "--bins"]
    command += ["--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    found = {}
    for line in built.splitlines():
        message = json.loads(line)
        if message.get("executable"):
            found[message["target"]["name"]] = message["executable"]
    shutil.rmtree(SCRIPTS, ignore_errors=True)
    SCRIPTS.mkdir(parents=True)
    return [Path(shutil.copy2(found[name], SCRIPTS / name)) for name in PROGRAMS]


def third_party() -> str:
    """The crates that the module and the programs hold, and their licences, which say that they want to be passed on.

    The text is the one that xtask/src/package/third_party.rs makes, which is not in the sdist; a test compares them.
    """
    tree = ["cargo", "tree", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", "krundl"]
    linked = {tuple(line.split(" ")[:2]) for line in said([*tree, "--features", "python"]).splitlines()}
    host = next(line[6:] for line in said(["rustc", "-vV"]).splitlines() if line.startswith("host: "))
    metadata = ["cargo", "metadata", "--format-version=1", "--filter-platform", host, "--features", "python"]
    packages = [one for one in json.loads(said(metadata))["packages"] if (one["name"], f"v{one['version']}") in linked]
    text = "krundl's module and programs hold these crates, linked statically:\n\n"
    licenses: dict[str, list[str]] = {}
    for one in sorted(packages, key=lambda one: (one["name"], one["version"])):
        if one["name"] == "krundl":
            continue
        text += f"{one['name']} {one['version']}: {one['license'] or ''}\n"
        for file in sorted(Path(one["manifest_path"]).parent.iterdir()):
            if file.is_file() and file.name.upper().startswith(LICENSES):
                lines = file.read_bytes().decode().split("\n")
                licenses.setdefault("\n".join(line.rstrip() for line in lines).strip("\n"), []).append(one["name"])
    for words, names in sorted(licenses.items()):
        text += f"\n{'=' * 79}\n{', '.join(names)}\n\n{words}\n"
    return text


def said(command: list[str]) -> str:
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode()


def with_tag(settings: Settings, programs: list[Path]) -> Settings:
    """The wheel's platform tag has to be true for the programs, too; maturin looks at the module alone."""
    settings = dict(settings or {})
    if sys.platform != "linux" or "build-args" in settings:
        return settings
    minor = max(glibc_minor(program) for program in programs)
    # maturin refuses the tag if the module needs a newer one, which it does not: the programs do all that it does.
    settings["build-args"] = f"--compatibility manylinux_2_{minor}"
    return settings


def glibc_minor(program: Path) -> int:
    """The newest glibc 2.N of which a program wants a symbol, by the version names in it."""
    return max((int(minor) for minor in re.findall(rb"\0GLIBC_2\.(\d+)", program.read_bytes())), default=17)


if __name__ == "__main__":
    # The programs alone, for whoever works on the package in place.
    print(os.fspath(build_programs()[0].parent))
