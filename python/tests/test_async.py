"""On asyncio: no threads, and others run meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import krundl
import pytest
from support import Stubs

NOWHERE = {"stdin": krundl.DEVNULL, "stdout": krundl.DEVNULL, "stderr": krundl.DEVNULL}


async def launch(stubs: Stubs, name: str, **options: Any) -> krundl.Vm:
    return await krundl.launch_async(stubs.spec(), library=stubs[name], **{**NOWHERE, **options})


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 60), debug=True)


def test_a_vm_is_launched_and_waited_for(stubs: Stubs, nothing_is_left: None) -> None:
    async def scenario() -> None:
        async with await launch(stubs, "exits-7") as vm:
            await vm.wait_ready_async(10)
            assert await vm.wait_async() == 7
            assert await vm.wait_async(0) == 7
            assert vm.exit is not None and vm.exit.kind == "code"
        assert threading.active_count() == 1

    run(scenario)


def test_many_are_waited_for_at_once(stubs: Stubs, nothing_is_left: None) -> None:
    async def scenario() -> None:
        probe = krundl.probe(stubs["late"])
        vms = await asyncio.gather(
            *(krundl.launch_async(stubs.spec(), probe=probe, **NOWHERE) for _ in range(8))  # type: ignore[arg-type]
        )
        started = time.monotonic()
        assert await asyncio.gather(*(vm.wait_async() for vm in vms)) == [0] * 8
        # Each takes 0.3 s after it was entered.
        assert time.monotonic() - started < 10
        assert threading.active_count() == 1

    run(scenario)


def test_others_run_while_a_vm_is_launched(stubs: Stubs, nothing_is_left: None) -> None:
    async def scenario() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                # As often as the loop comes round: a machine that is busy has few hundredths of a second to give.
                await asyncio.sleep(0)
                ticks += 1

        ticking = asyncio.create_task(tick())
        with pytest.raises(krundl.TimedOut, match="entering libkrun did not happen within 300 ms"):
            await launch(stubs, "stuck", start_timeout=0.3)
        assert ticks > 5
        ticking.cancel()

    run(scenario)


def test_a_launch_that_is_cancelled_leaves_nothing(stubs: Stubs, nothing_is_left: None) -> None:
    async def scenario() -> None:
        launching = asyncio.create_task(launch(stubs, "stuck"))
        await asyncio.sleep(0.1)
        launching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await launching

    run(scenario)


def test_what_goes_wrong_at_the_start_is_raised(stubs: Stubs, nothing_is_left: None) -> None:
    async def scenario() -> None:
        for name, kind in [("refuses", krundl.CallError), ("dies", krundl.Crashed)]:
            with pytest.raises(kind):
                await launch(stubs, name)
        with pytest.raises(krundl.HelperMismatch):
            await krundl.launch_async(
                stubs.spec(), probe=krundl.probe(stubs["succeeds"]), helper="/bin/true", stdin=krundl.DEVNULL
            )

    run(scenario)


def test_waiting_has_its_time_and_can_be_cancelled(stubs: Stubs, nothing_is_left: None) -> None:
    async def scenario() -> None:
        async with await launch(stubs, "runs") as vm:
            await vm.wait_ready_async()
            for wait, match in [(vm.wait_async, "the VM's end did not happen within 50 ms")]:
                with pytest.raises(krundl.TimedOut, match=match):
                    await wait(0.05)
            waiting = asyncio.create_task(vm.wait_async())
            await asyncio.sleep(0.05)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert vm.poll() is None
        async with await launch(stubs, "hangs") as vm:
            with pytest.raises(krundl.TimedOut, match="first word"):
                await vm.wait_ready_async(0.05)

    run(scenario)


def test_failures_are_raised_by_both_waits(stubs: Stubs, nothing_is_left: None) -> None:
    async def scenario() -> None:
        for name, kind in [("silent", krundl.NeverUp), ("unprepared", krundl.GuestSetup), ("returns", krundl.StartError)]:
            async with await launch(stubs, name) as vm:
                with pytest.raises(kind):
                    await vm.wait_ready_async(10)
                with pytest.raises(kind):
                    await vm.wait_async(10)
        async with await launch(stubs, "mute") as vm:
            with pytest.raises(krundl.ReadinessUnknown):
                await vm.wait_ready_async()

    run(scenario)


def test_several_tasks_and_a_thread_wait_for_one_vm(stubs: Stubs) -> None:
    async def scenario() -> None:
        vm = await launch(stubs, "late")
        thread = threading.Thread(target=vm.wait_ready)
        thread.start()
        await asyncio.gather(vm.wait_ready_async(), vm.wait_ready_async(), vm.wait_async(), vm.wait_async())
        thread.join()
        assert vm.returncode == 0

    run(scenario)


def test_a_task_is_woken_when_another_one_kills(stubs: Stubs) -> None:
    async def scenario() -> None:
        vm = await launch(stubs, "runs")
        waiting = asyncio.create_task(vm.wait_async())
        await asyncio.sleep(0.05)
        vm.kill()
        assert await waiting == 137

    run(scenario)


def test_waiting_uses_no_processor(stubs: Stubs) -> None:
    async def scenario() -> None:
        async with await launch(stubs, "runs") as vm:
            await vm.wait_ready_async()
            before = time.process_time()
            with pytest.raises(krundl.TimedOut):
                await vm.wait_async(1)
            assert time.process_time() - before < 0.2

    run(scenario)
