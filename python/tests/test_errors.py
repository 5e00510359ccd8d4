"""One class for each code of docs/errors.md."""

from __future__ import annotations

import pickle
import re

import krundl
import pytest
from krundl import _errors, _krundl
from support import REPOSITORY, Stubs


def documented() -> list[tuple[int, str]]:
    text = (REPOSITORY / "docs/errors.md").read_text()
    return [(int(code), name) for code, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.MULTILINE)]


def classes() -> dict[str, type[krundl.Error]]:
    found = vars(krundl).values()
    return {kind.name: kind for kind in found if isinstance(kind, type) and issubclass(kind, krundl.Error) and kind.code}


def test_every_code_has_a_class_of_its_name_and_number() -> None:
    assert documented() == [(code, name) for code, name, *_ in _krundl.codes()]
    assert {(kind.code, name) for name, kind in classes().items()} == set(documented())


def test_every_class_says_what_the_table_says() -> None:
    for _, name, meaning, _ in _krundl.codes():
        assert (classes()[name].__doc__ or "").startswith(meaning), name


@pytest.mark.parametrize("name", [name for _, name in documented()])
def test_an_exception_survives_being_sent_to_another_process(name: str) -> None:
    error = _errors.make(name, 0, "a message", {"errno": 5, "log": "words"})
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (again.message, again.details, str(again)) == ("a message", {"errno": 5, "log": "words"}, "a message")
    assert again.as_dict() == {"code": error.code, "name": name, "message": "a message", "errno": 5, "log": "words"}


def test_a_code_that_is_not_known_is_an_error_with_that_code() -> None:
    error = _errors.make("Novelty", 999, "new", {})
    assert (type(error), error.code, error.name) == (krundl.Error, 999, "Novelty")


def test_exceptions_are_what_python_has_for_the_same_thing() -> None:
    assert issubclass(krundl.TimedOut, TimeoutError)
    assert issubclass(krundl.InvalidSpec, ValueError)
    assert issubclass(krundl.InvalidArgument, ValueError)
    error = _errors.make("Os", 500, "no", {"errno": 13})
    assert isinstance(error, OSError) and error.errno == 13 and str(error) == "no"
    for kind in (krundl.StartError, krundl.Crashed, krundl.NeverUp, krundl.GuestSetup, krundl.GuestLost):
        assert issubclass(kind, krundl.VmmFailed)


def test_a_library_that_is_not_found_names_every_attempt(stubs: Stubs) -> None:
    with pytest.raises(krundl.LibraryNotFound) as caught:
        krundl.probe(stubs["incomplete"])
    attempt = caught.value.attempts[0]
    assert attempt.candidate == stubs["incomplete"] and attempt.error is not None
    assert (attempt.error.kind, "libvirglrenderer.so.1" in attempt.error.message) == ("missing_dependency", True)
    assert "fix: install what" in str(caught.value)


def test_problems_name_the_field_and_what_it_takes(stubs: Stubs) -> None:
    spec = stubs.spec(mounts=[krundl.Mount(host=stubs.place / "files/data", read_only=True)])
    with pytest.raises(krundl.Unsupported) as caught:
        krundl.launch(spec, library=stubs["1.17.4"])
    (problem,) = caught.value.problems
    assert problem.needs is not None
    assert (problem.field, problem.needs.function, problem.needs.since) == (
        "mounts[0].read_only",
        "krun_add_virtiofs3",
        "1.18.0",
    )
    assert str(problem) in str(caught.value)


def test_a_call_that_is_refused_has_its_function_and_errno(stubs: Stubs) -> None:
    with pytest.raises(krundl.CallError) as caught:
        stubs.launch("refuses")
    assert (caught.value.function, caught.value.errno) == ("krun_set_vm_config", 22)


def test_a_vm_that_failed_has_libkruns_words(stubs: Stubs) -> None:
    vm = stubs.launch("crashes")
    with pytest.raises(krundl.VmmFailed) as caught:
        vm.wait()
    assert isinstance(caught.value, krundl.Crashed)
    assert (caught.value.function, caught.value.log) == ("krun_start_enter", "")
    assert caught.value.details["ended"] == {"signal": 6}
