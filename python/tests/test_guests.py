"""Real guests, with a real libkrun, in the lab of `cargo xtask test`, which names the library and a guest's root."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import krundl
import pytest
from support import children, threads

LIBRARY = os.environ.get("KRUNDL_TEST_LIBRARY")
ROOT = os.environ.get("KRUNDL_TEST_ROOT", "")

if not LIBRARY or os.environ.get("KRUNDL_LAB") != "1":
    pytest.skip("needs the lab (cargo xtask test --python)", allow_module_level=True)

# What everything together may take here, where a processor is emulated.
PATIENCE = 120.0


@pytest.fixture(scope="module")
def probe() -> krundl.ProbeReport:
    return krundl.probe(LIBRARY, timeout=60)


def spec(script: str, **fields: Any) -> krundl.VmSpec:
    exec_ = krundl.Exec(path="sh", args=["-c", script])
    return krundl.VmSpec(vcpus=1, memory_mib=256, root=krundl.Root(dir=ROOT), exec=exec_, **fields)


def launch(probe: krundl.ProbeReport, script: str, **fields: Any) -> krundl.Vm:
    pipe = krundl.PIPE
    return krundl.launch(
        spec(script, **fields), probe=probe, stdin=pipe, stdout=pipe, stderr=pipe, start_timeout=PATIENCE
    )


@pytest.fixture(autouse=True)
def leaves_nothing(nothing_is_left: None) -> Iterator[None]:
    """None of them, eight guests at once included, leaves a descriptor, a thread or a child."""
    yield


def test_a_workload_reads_writes_and_ends(probe: krundl.ProbeReport) -> None:
    with launch(probe, "read line; echo out $line; echo err >&2; exit 42") as vm:
        vm.wait_ready(PATIENCE)
        assert vm.poll() is None
        assert vm.communicate(b"in\n", timeout=PATIENCE) == (b"out in\n", b"err\n")
        assert vm.returncode == 42


def test_statuses_are_the_workloads(probe: krundl.ProbeReport) -> None:
    with launch(probe, "kill -9 $$") as vm:
        assert vm.wait(PATIENCE) == 137
        assert vm.exit is not None and (vm.exit.kind, vm.exit.signal) == ("signal", 9)
    missing = spec("")
    missing.exec = krundl.Exec(path="/no/such/program")
    with krundl.launch(missing, probe=probe, stdin=krundl.DEVNULL, stderr=krundl.DEVNULL) as vm:
        assert vm.wait(PATIENCE) == 127
        assert vm.exit is not None and vm.exit.kind == "not_executed" and vm.exit.reason


def test_a_writable_mount_is_written_to_and_a_read_only_one_is_not(probe: krundl.ProbeReport, tmp_path: Path) -> None:
    for name in ("ro", "rw"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(f"{name} of the host\n")
    mounts = [
        krundl.Mount(host=tmp_path / "ro", guest="/mnt/ro", read_only=True),
        krundl.Mount(host=tmp_path / "rw", guest="/mnt/rw"),
    ]
    script = "cat /mnt/ro/f /mnt/rw/f; echo guest > /mnt/rw/new; echo guest > /mnt/ro/new && exit 9; exit 0"
    with launch(probe, script, mounts=mounts) as vm:
        output, errors = vm.communicate(timeout=PATIENCE)
    assert output == b"ro of the host\nrw of the host\n" and b"Read-only file system" in (errors or b"")
    assert vm.returncode == 0
    assert (tmp_path / "rw/new").read_text() == "guest\n" and not (tmp_path / "ro/new").exists()


def test_commands_for_guests_that_mount_by_themselves_are_right(probe: krundl.ProbeReport, tmp_path: Path) -> None:
    """krundl's program has mounted the share already; a guest that has not runs the same commands."""
    (tmp_path / "f").write_text("shared\n")
    mount = krundl.Mount(host=tmp_path, guest="/mnt", tag="ws", read_only=True)
    lower, overlay = "/tmp/l{tag}", {"lower": "/tmp/l{tag}", "upper": "/tmp/o/u", "work": "/tmp/o/w"}
    elsewhere = krundl.Mount(host=tmp_path, guest="/tmp/my work", tag="ws", read_only=True)
    commands = krundl.mount_commands(elsewhere, overlay=overlay)
    # The root is shared with other guests: what is written goes to a file system of the guest's own.
    script = " && ".join(["umount /mnt", "mount -t tmpfs tmpfs /tmp", *commands, "cat '/tmp/my work/f'"])
    script += f" && echo guest > '/tmp/my work/f' && cat '/tmp/my work/f' {lower.format(tag='ws')}/f"
    script += "; cat /proc/filesystems >&2"
    with launch(probe, script, mounts=[mount]) as vm:
        output, errors = vm.communicate(timeout=PATIENCE)
    missing = krundl.missing_filesystems((errors or b"").decode())
    assert missing == [] and output == b"shared\nguest\nshared\n", errors
    assert (tmp_path / "f").read_text() == "shared\n"


def test_a_guest_is_killed_and_its_time_is_over(probe: krundl.ProbeReport) -> None:
    with launch(probe, "echo up; sleep 1000") as vm:
        vm.wait_ready(PATIENCE)
        with pytest.raises(krundl.TimedOut):
            vm.wait(0.5)
        assert vm.poll() is None
        vm.kill()
        assert vm.wait(PATIENCE) == 137
    with launch(probe, "sleep 1000") as vm:
        vm.wait_ready(PATIENCE)
        assert vm.stop(grace=PATIENCE) == 143


def test_further_commands_run_in_a_guest(probe: krundl.ProbeReport) -> None:
    with launch(probe, "trap 'exit 9' TERM; while :; do sleep 0.2; done", control="private") as vm:
        vm.wait_ready(PATIENCE)
        done = vm.exec(["sh", "-c", "cat; echo $A >&2; exit 3"], input=b"in" * 50_000, env={"A": "a"}, timeout=PATIENCE)
        assert (done.returncode, done.stdout, done.stderr) == (3, b"in" * 50_000, b"a\n")
        assert vm.control is not None
        guest = krundl.Guest(vm.control)

        async def three() -> list[bytes]:
            several = (guest.exec_async(["echo", str(n)], timeout=PATIENCE) for n in range(3))
            return [done.stdout for done in await asyncio.gather(*several)]

        assert asyncio.run(three()) == [b"0\n", b"1\n", b"2\n"]
        figures = vm.figures()
        assert figures.cpus == 1 and figures.uptime_ms > 0 and figures.memory.total > 100 << 20
        with guest.popen(["sleep", "1000"]) as sleeping:
            sleeping.kill()
            assert sleeping.wait(PATIENCE) == 137
        guest.terminate()
        assert vm.wait(PATIENCE) == 9


def test_a_guest_that_vanishes_is_lost(probe: krundl.ProbeReport) -> None:
    with launch(probe, "reboot -f") as vm, pytest.raises(krundl.GuestLost):
        vm.wait(PATIENCE)


def test_eight_guests_at_once_on_asyncio(probe: krundl.ProbeReport) -> None:
    async def one(number: int) -> bytes:
        vm = await krundl.launch_async(
            spec(f"echo {number}; exit {number}"),
            probe=probe,
            stdin=krundl.DEVNULL,
            stdout=krundl.PIPE,
            stderr=krundl.DEVNULL,
            start_timeout=PATIENCE,
        )
        async with vm:
            await vm.wait_ready_async(PATIENCE)
            assert await vm.wait_async(PATIENCE) == number
            assert vm.stdout is not None
            return vm.stdout.read()

    async def all_of_them() -> list[bytes]:
        return await asyncio.gather(*(one(number) for number in range(8)))

    assert asyncio.run(all_of_them()) == [f"{number}\n".encode() for number in range(8)]
    assert threading.active_count() == 1


@pytest.mark.long
def test_fifty_launches_leave_nothing(probe: krundl.ProbeReport, capsys: pytest.CaptureFixture[str]) -> None:
    """One after the other, and after each the process has what it had after the first: descriptors, threads, children."""

    def one(number: int) -> None:
        if number % 2:
            with launch(probe, f"echo {number}; exit {number}") as vm:
                output, _ = vm.communicate(timeout=PATIENCE)
                status = vm.returncode
        else:

            async def on_asyncio() -> tuple[int, bytes]:
                nowhere, pipe = krundl.DEVNULL, krundl.PIPE
                async with await krundl.launch_async(
                    spec(f"echo {number}; exit {number}"), probe=probe, stdin=nowhere, stdout=pipe, stderr=nowhere
                ) as vm:
                    status = await vm.wait_async(PATIENCE)
                    assert vm.stdout is not None
                    return status, vm.stdout.read()

            status, output = asyncio.run(on_asyncio())
        assert (status, output) == (number, f"{number}\n".encode())

    def held() -> dict[str, int]:
        gc.collect()
        return {"descriptors": len(os.listdir("/proc/self/fd")), "threads": threads(), "children": len(children())}

    def memory_kib() -> int:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))

    # The first two load what is loaded once.
    one(0)
    one(1)
    before, memory, started = held(), memory_kib(), time.monotonic()
    for number in range(2, 52):
        one(number)
        assert held() == before, f"after launch {number - 1}"
    grown, took = memory_kib() - memory, time.monotonic() - started
    with capsys.disabled():
        print(f"\n50 launches in {took:.0f} s: {before} before and after each, {grown:+} KiB of memory in all")
    assert grown < 4096, "memory grows with each launch"


def test_a_guest_is_cancelled_on_asyncio(probe: krundl.ProbeReport) -> None:
    async def scenario() -> None:
        async with await krundl.launch_async(
            spec("sleep 1000"), probe=probe, stdin=krundl.DEVNULL, stdout=krundl.DEVNULL, stderr=krundl.DEVNULL
        ) as vm:
            await vm.wait_ready_async(PATIENCE)
            with pytest.raises(krundl.TimedOut):
                await vm.wait_async(0.2)
            waiting = asyncio.create_task(vm.wait_async())
            await asyncio.sleep(0.1)
            vm.kill()
            assert await waiting == 137

    asyncio.run(scenario())


def test_krun_launch_gives_a_process_to_reap(probe: krundl.ProbeReport, tmp_path: Path) -> None:
    """The epic's call: a description as a dictionary, a process number."""
    mounts = [krundl.Mount(host=tmp_path, guest="/mnt")]
    described = spec("echo ran > /mnt/ran; exit 5", mounts=mounts).as_dict()
    nowhere = krundl.DEVNULL
    pid = krundl.krun_launch(
        described, library=LIBRARY, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_timeout=PATIENCE
    )
    started = time.monotonic()
    os.waitpid(pid, 0)
    assert time.monotonic() - started < PATIENCE
    assert (tmp_path / "ran").read_text() == "ran\n"


def test_the_doctor_boots_a_guest_and_proves_its_mounts() -> None:
    report = krundl.doctor(LIBRARY, boot=True, timeout=60)
    assert report.proof is not None and report.proof.error is None, report.proof
    assert {check.id: check.status for check in report.checks}["proof.boot"] == "pass"
    assert "proof.read_only" in report._repr_html_()
