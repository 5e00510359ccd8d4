"""Specs as Python's own values: from dictionaries and JSON, and back."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import krundl
import pytest
from krundl import _reports, _spec
from krundl._data import Data
from support import REPOSITORY, Stubs

SPECIAL = {"Report": "DoctorReport"}


def schema(name: str) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads((REPOSITORY / "docs" / name).read_text())
    return {**whole["$defs"], whole["title"]: whole}


@pytest.mark.parametrize(("file", "module"), [("spec.schema.json", _spec), ("doctor.schema.json", _reports)])
def test_every_type_of_the_schema_has_a_class_with_its_fields(file: str, module: Any) -> None:
    seen = 0
    for name, definition in schema(file).items():
        if definition.get("type") != "object":
            continue
        kind = getattr(module, SPECIAL.get(name, name))
        fields = {field.name.rstrip("_") for field in dataclasses.fields(kind)}
        assert fields == set(definition["properties"]), name
        seen += 1
    assert seen > 15


def test_every_field_that_is_not_required_has_the_schemas_default() -> None:
    for name, definition in schema("spec.schema.json").items():
        if definition.get("type") != "object":
            continue
        kind: type[Data] = getattr(_spec, name)
        required = {field: placeholder(definition["properties"][field]) for field in definition.get("required", [])}
        made = kind(**required).as_dict()
        defaults = {field: schema.get("default") for field, schema in definition["properties"].items()}
        assert made == {**defaults, **required}, name


def placeholder(schema: dict[str, Any]) -> Any:
    return 1 if schema.get("type") == "integer" else "x"


FULL: dict[str, Any] = {
    "vcpus": 2,
    "memory_mib": 512,
    "root": {"dir": "/r", "read_only": True},
    "exec": {"path": "sh", "args": ["-c", {"bytes": [255, 1]}], "env": {"A": "b"}, "workdir": "/w"},
    "mounts": [{"host": "/h", "guest": "/g", "tag": "t", "semantics": "simplified"}],
    "overlay": {"files": [{"path": "/f", "from": "/x"}, {"path": "/g", "text": "y", "mode": 384}], "dirs": []},
    "disks": [{"path": "/d", "format": "qcow2", "sync": "full"}],
    "tsi": {"ports": [{"host": 8080, "guest": 80}]},
    "nics": [{"unixgram": "/s", "vfkit": True, "features": ["csum"]}],
    "vsock": {"ports": [{"port": 5, "path": "/v", "listen": True}]},
    "console": {"file": "/c"},
    "control": {"socket": "/r/control"},
    "rlimits": {"NOFILE": {"soft": 18446744073709551615}},
    "displays": [{"width": 1, "height": 2, "physical_size_mm": [3, 4]}],
    "log_level": "debug",
}


def test_a_spec_comes_from_a_dictionary_and_goes_back() -> None:
    spec = krundl.VmSpec.from_dict(FULL)
    assert isinstance(spec.mounts[0], krundl.Mount) and spec.mounts[0].guest == "/g"
    assert isinstance(spec.console, krundl.ConsoleFile) and isinstance(spec.rlimits["NOFILE"], krundl.Rlimit)
    assert spec.exec is not None and spec.exec.args[1] == b"\xff\x01"
    assert spec.overlay.files[0].from_ == "/x" and spec.overlay.files[0].mode == 0o644
    assert krundl.VmSpec.from_dict(spec.as_dict()) == spec
    assert krundl.VmSpec.from_json(spec.to_json()) == spec
    assert krundl.VmSpec.from_json(json.dumps(FULL).encode()) == spec


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(krundl.InvalidSpec) as caught:
        krundl.VmSpec.from_dict({"vcpus": "two", "snapshot": True, "mounts": [{"guest": "/w"}, {"host": 1}]})
    found = {problem.field: problem.kind for problem in caught.value.problems}
    assert found == {
        "vcpus": "invalid",
        "memory_mib": "invalid",
        "snapshot": "not_offered",
        "mounts[0].host": "invalid",
        "mounts[1].host": "invalid",
    }
    for text in ("", "[]", "{"):
        with pytest.raises(krundl.InvalidSpec):
            krundl.VmSpec.from_json(text)


def test_a_part_with_a_name_that_there_is_not_is_a_type_error() -> None:
    assert krundl.Mount.from_dict({"host": "/h"}) == krundl.Mount(host="/h")
    assert krundl.Mount.from_json('{"host": "/h", "read_only": true}').read_only
    for wrong in ({}, {"host": "/h", "colour": 1}):
        with pytest.raises(TypeError):
            krundl.Mount.from_dict(wrong)


def test_paths_and_text_of_any_bytes_are_taken() -> None:
    spec = krundl.Exec(path=Path("/bin/sh"), args=[b"\xff", os.fsdecode(b"a\xfe"), "ü"])
    assert spec.as_dict()["path"] == "/bin/sh"
    assert spec.as_dict()["args"] == [{"bytes": [255]}, {"bytes": [97, 254]}, "ü"]
    again = krundl.Exec.from_dict(spec.as_dict())
    assert again.args == [b"\xff", b"a\xfe", "ü"]


def test_what_is_no_data_is_refused_by_python() -> None:
    with pytest.raises(TypeError):
        krundl.VmSpec(vcpus=1, memory_mib=1, sound=object()).to_json()  # type: ignore[arg-type]


def test_a_spec_a_dictionary_and_json_come_to_the_same_plan(stubs: Stubs) -> None:
    spec = stubs.spec()
    probe = krundl.probe(stubs["1.19.7"])
    plans = [krundl.plan(form, probe=probe) for form in (spec, spec.as_dict(), spec.to_json())]
    assert plans[0].as_dict() == plans[1].as_dict() == plans[2].as_dict()


def test_check_tells_everything_in_the_way_and_plan_raises_it(stubs: Stubs) -> None:
    spec = stubs.spec(vcpus=0, mounts=[krundl.Mount(host="/nowhere", read_only=True)])
    problems = krundl.check(spec, library=stubs["1.17.4"])
    assert {problem.kind for problem in problems} == {"invalid", "host", "unsupported"}
    with pytest.raises(krundl.InvalidSpec) as caught:
        krundl.plan(spec, library=stubs["1.17.4"])
    assert caught.value.problems == problems
    assert krundl.check(stubs.spec(), library=stubs["1.17.4"]) == []


def test_a_plan_reads_as_the_command_line_prints_it(stubs: Stubs) -> None:
    plan = krundl.plan(stubs.spec(), library=stubs["1.19.7"])
    assert plan.calls[0].function == "krun_init_log" and plan.calls[-1].function == "krun_start_enter"
    config = next(call for call in plan.calls if call.function == "krun_set_vm_config")
    assert (config.args, str(config)) == ({"vcpus": 1, "ram_mib": 256}, config.text)
    assert str(plan).startswith(f"library: {plan.library}\n  1. krun_init_log(")
    assert repr(plan) == f"<Plan of {len(plan.calls)} calls for {plan.library}>"
