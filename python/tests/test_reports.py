"""What probe, doctor and inspect tell, for programs, for people and for notebooks."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import krundl
import pytest
from krundl import _krundl
from krundl._data import Data
from support import Stubs


def test_a_probe_tells_what_a_library_can_do(stubs: Stubs) -> None:
    report = krundl.probe(stubs["1.19.7"])
    assert report.library.version.range == "=1.19.7"
    assert report.library.functions["krun_add_virtiofs3"] and not report.library.functions["krun_get_shutdown_eventfd"]
    assert report.library.support["krun_set_snd_device"] == "no_effect"
    assert report.levels.virtiofs == 4 and report.can_mount and report.can_mount_read_only
    assert report.attempts[-1].error is None
    assert not krundl.probe(stubs["1.17.4"]).can_mount_read_only


def test_a_report_is_plain_data_as_well(stubs: Stubs) -> None:
    library = stubs["1.18.0"]
    reports: list[Data] = [krundl.probe(library), krundl.doctor(library), *krundl.inspect(library)]
    for report in reports:
        data = report.as_dict()
        assert json.loads(report.to_json()) == data
        assert type(report).from_dict(data).as_dict() == data
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(report, "attempts", [])  # noqa: B010


def test_the_doctors_report_is_the_command_lines(stubs: Stubs) -> None:
    krundl_program = Path(_vmm()).parent / "krundl"
    command = [str(krundl_program), "doctor", "--library", stubs["1.18.0"], "--json"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout
    ours, theirs = krundl.doctor(stubs["1.18.0"]).as_dict(), json.loads(printed)
    # How long ago is another answer each time.
    assert set(ours) == set(theirs)
    assert ours["library"] == theirs["library"] and ours["levels"] == theirs["levels"]
    assert [check["id"] for check in ours["checks"]] == [check["id"] for check in theirs["checks"]]


def _vmm() -> str:
    return str(krundl.doctor(only=["library.found"]).helper)


def test_reports_read_well(stubs: Stubs) -> None:
    library = stubs["1.19.7"]
    levels = "virtiofs 4/4, disk 3/3, net 2/2, vsock 3/3, console 3/3, kernel 2/2, overlay 1/1"
    assert repr(krundl.probe(library)) == f"<ProbeReport libkrun =1.19.7 at {library}: {levels}>"
    report = krundl.doctor(library)
    assert repr(report).startswith(f"<DoctorReport libkrun =1.19.7 at {library}: ") and " pass" in repr(report)
    assert str(report).startswith(f"libkrun =1.19.7: {library}\n")
    assert isinstance(report.ok, bool)
    (file,) = krundl.inspect(library)
    assert repr(file).startswith(f"<Inspected {library}: <Part ") and ", libkrun =1.19.7, " in repr(file)
    (part,) = file.parts
    assert part.version is not None and part.version.range == "=1.19.7" and part.version.evidence
    assert (part.format, part.flavour, part.features["net"]) == ("elf", "plain", True)
    assert "gpu" not in part.features, "only the library itself can tell"
    (program,) = krundl.inspect("/bin/sh")
    assert program.parts[0].version is None and ", no libkrun, " in repr(program)
    assert str(file).startswith(f"{library}\n")
    assert len(repr(report.library)) < 300


class Cells(HTMLParser):
    """The text of a page, and the names of its elements; every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.elements.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_notebooks_show_the_capability_matrix(stubs: Stubs) -> None:
    for report in (krundl.probe(stubs["1.19.7"]), krundl.doctor(stubs["1.19.7"])):
        cells = Cells(report._repr_html_())
        for name, group, _ in _krundl.functions():
            assert name.removeprefix("krun_") in cells.text and group in cells.text
    assert "no_effect" not in cells.text
    assert "does nothing" in krundl.probe(stubs["1.19.7"])._repr_html_()


def test_what_comes_from_a_machine_is_escaped(stubs: Stubs, tmp_path: Path) -> None:
    evil = tmp_path / "<script>alert(1)<" / "a&b"
    evil.mkdir(parents=True)
    library = evil / "libkrun.so.1.19.7"
    library.write_bytes(Path(stubs["1.19.7"]).read_bytes())
    (evil / "text").write_text("no library")
    pages: list[Any] = [krundl.probe(library), krundl.doctor(library), *krundl.inspect(library, evil / "text")]
    pages += [krundl.doctor(evil / "text"), krundl.probe(library).library]
    for report in pages:
        page = report._repr_html_()
        cells = Cells(page)
        assert "<script" not in page and "script" not in cells.elements
        assert "<script>alert(1)<" in cells.text


def test_a_machine_without_libkrun_is_a_report_too(no_libkrun: None) -> None:
    no_libkrun()  # type: ignore[misc]
    report = krundl.doctor()
    assert report.library is None and not report.ok
    found = next(check for check in report.checks if check.id == "library.found")
    assert found.status == "fail" and found.fix
    Cells(report._repr_html_())
    assert repr(report).startswith("<DoctorReport no libkrun: ")


def test_the_doctor_judges_what_it_is_asked_about(stubs: Stubs) -> None:
    data = stubs.place / "files/data"
    report = krundl.doctor(stubs["1.17.4"], mounts=[krundl.Mount(host=data, read_only=True)], compare="1.18.0")
    assert report.mounts[0].host == str(data) or data.name in str(report.mounts[0])
    assert report.compare is not None and report.compare.release == "1.18.0"
    assert {check.id for check in krundl.doctor(stubs["1.17.4"], only=["kvm"]).checks} >= {"kvm"}
    with pytest.raises(krundl.InvalidArgument, match="there is no check"):
        krundl.doctor(only=["colour"])
    with pytest.raises(krundl.InvalidSpec) as caught:
        krundl.doctor(mounts=[{"host": "/h", "colour": 1}])
    assert caught.value.problems[0].field.startswith("mounts[0]")


def test_a_root_is_searched_where_no_files_are_named(stubs: Stubs, tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/libkrun.so.1").write_bytes(Path(stubs["1.18.0"]).read_bytes())
    (found,) = krundl.inspect(root=tmp_path)
    assert found.real_path == "/usr/lib/libkrun.so.1"


def test_a_probe_can_be_sent_to_another_process_and_launched_with(stubs: Stubs) -> None:
    probe = krundl.probe(stubs["exits-7"])
    again = pickle.loads(pickle.dumps(probe))
    assert again == probe
    with krundl.launch(stubs.spec(), probe=again, stdin=krundl.DEVNULL) as vm:
        assert vm.wait() == 7


def test_a_probe_is_what_it_was_made_from(stubs: Stubs) -> None:
    probe = krundl.probe(stubs["1.18.0"])
    with pytest.raises(ValueError, match="one or the other"):
        krundl.plan(stubs.spec(), probe=probe, library=stubs["1.19.7"])
    with pytest.raises(ValueError, match="not made by probe"):
        krundl.plan(stubs.spec(), probe=krundl.ProbeReport.from_dict(probe.as_dict()))
    with pytest.raises(ValueError, match="timeout"):
        krundl.probe(stubs["1.18.0"], timeout=float("nan"))
