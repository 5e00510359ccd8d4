"""The cases of tests/cases/cases.json: the same answers in every language."""

from __future__ import annotations

import re
from typing import Any

import krundl
import pytest
from support import built

ASKED = ("found", "calls", "ready", "error", "exit")


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in built().cases])
def test_every_case_has_the_answer_that_it_expects(case: dict[str, Any]) -> None:
    answer: dict[str, Any] = {}
    try:
        steps(case, answer)
    except krundl.Error as error:
        answer["error"] = told(error)
    assert answer == {name: case[name] for name in ASKED if name in case}


def steps(case: dict[str, Any], answer: dict[str, Any]) -> None:
    probe = krundl.probe(case["library"], helper=case["helper"])
    if case["spec"] is None:
        answer["found"] = found(probe, case["found"])
    elif case["run"]:
        run(case, probe, answer)
    else:
        answer["calls"] = [call.function for call in krundl.plan(case["spec"], probe=probe).calls]


def found(probe: krundl.ProbeReport, asked: dict[str, Any]) -> dict[str, Any]:
    library = probe.library
    return {
        "generation": library.generation,
        "version": library.version.range,
        "levels": {name: getattr(probe.levels, name) for name in asked["levels"]},
        "support": {name: library.support.get(name, "absent") for name in asked["support"]},
        "features": {name: library.features[name] for name in asked["features"]},
    }


def run(case: dict[str, Any], probe: krundl.ProbeReport, answer: dict[str, Any]) -> None:
    nowhere = krundl.DEVNULL
    with krundl.launch(
        case["spec"], probe=probe, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_timeout=1.5
    ) as vm:
        try:
            vm.wait_ready(0.3)
        except krundl.TimedOut as error:
            answer["ready"] = told(error)
            vm.kill()
        except krundl.ReadinessUnknown as error:
            answer["ready"] = told(error)
        except krundl.Error:
            # Waiting for the end says the same.
            pass
        status = vm.wait()
        assert vm.exit is not None and status == vm.returncode
        answer["exit"] = {"kind": vm.exit.kind, "status": status}


def told(error: krundl.Error) -> dict[str, Any]:
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", error.name).lower()
    answer: dict[str, Any] = {"code": error.code, "name": snake}
    for name in ("function", "errno"):
        if error.details.get(name) is not None:
            answer[name] = error.details[name]
    if isinstance(error, (krundl.InvalidSpec, krundl.Unsupported)):
        answer["problems"] = [
            {"field": problem.field, "kind": problem.kind}
            | ({"function": problem.needs.function, "since": problem.needs.since} if problem.needs else {})
            for problem in error.problems
        ]
    if isinstance(error, krundl.LibraryNotFound):
        answer["attempts"] = [
            {"origin": attempt.origin, "kind": attempt.error.kind} for attempt in error.attempts if attempt.error
        ]
    return answer
