"""krundl behind SmolVM's libkrun backend, with SmolVM's own classes and libraries that look like libkrun: nothing boots."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import krundl.smolvm
import pytest
from krundl.smolvm import _install, _judge
from smolvm import SmolVM, SmolVMError, SmolVMManager, VMConfig, VMState, WorkspaceMount
from smolvm.types import PortForwardConfig, VsockConfig
from support import Stubs, built, children, has_ended

# SmolVM holds its locks by files that it leaves to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# What is taken for a kernel: an ELF file for this machine with one segment, and nothing to run.
ELF = (
    struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, 1 << 20, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    + struct.pack("<IIQQQQQQ", 1, 5, 0, 1 << 20, 1 << 20, 120, 120, 4096)
)


# Stands in for passt: it notes how it was started, answers every frame with itself, and ends with its connection.
PASST = """
import socket, sys
with open(__file__ + ".told", "w") as told:
    told.write(" ".join(sys.argv[1:]))
connection = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
while data := connection.recv(65536):
    connection.sendall(data)
"""


@pytest.fixture(scope="session")
def stubs() -> Stubs:
    return built()


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    krundl.smolvm.install()
    yield
    krundl.smolvm.uninstall()
    # Here, where the warnings about them are expected.
    gc.collect()


@pytest.fixture(autouse=True)
def passt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A passt in PATH that needs no network."""
    programs = tmp_path / "programs"
    programs.mkdir()
    program = programs / "passt"
    program.write_text(f"#!{sys.executable}\n{PASST}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return program


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[SmolVMManager]:
    with SmolVMManager(data_dir=tmp_path / "data", socket_dir=tmp_path / "sockets", backend="libkrun") as made:
        yield made


def use(monkeypatch: pytest.MonkeyPatch, stubs: Stubs, name: str) -> None:
    monkeypatch.setenv("KRUNDL_LIBRARY", stubs[name])


def config(tmp_path: Path, name: str = "vm", **fields: Any) -> VMConfig:
    kernel, rootfs = tmp_path / "vmlinux", tmp_path / "rootfs.ext4"
    kernel.write_bytes(ELF)
    rootfs.write_bytes(bytes(1 << 20))
    fields = {"backend": "libkrun", "boot_args": "console=ttyS0 init=/init", **fields}
    return VMConfig(vm_id=name, kernel_path=kernel, rootfs_path=rootfs, **fields)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_it_is_taken_back_whole() -> None:
    krundl.smolvm.install()
    places = [(_install._place(where), name) for where, name, _ in _install._SEAMS]
    ours = [getattr(place, name) for place, name in places]
    krundl.smolvm.uninstall()
    theirs = [getattr(place, name) for place, name in places]
    assert not krundl.smolvm.installed()
    same = [name for (_, name), one, other in zip(places, ours, theirs, strict=True) if one is other]
    assert same == ["_tcp_port_open"], "which is replaced for single objects"
    krundl.smolvm.install()
    krundl.smolvm.uninstall()
    assert all(getattr(place, name) is value for (place, name), value in zip(places, theirs, strict=True))


def test_a_smolvm_that_is_put_together_otherwise_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    krundl.smolvm.uninstall()
    before = SmolVMManager.create

    def _mount_workspaces(self: Any, verbose: bool) -> None:
        """As a later version may have it."""

    monkeypatch.setattr(SmolVM, "_mount_workspaces", _mount_workspaces)
    with pytest.raises(krundl.smolvm.UnknownSmolVM, match=r"_mount_workspaces: it takes \(self, verbose\) and not"):
        krundl.smolvm.install(any_version=True)
    assert not krundl.smolvm.installed() and SmolVMManager.create is before


def test_another_version_is_tried_where_that_is_wished(monkeypatch: pytest.MonkeyPatch) -> None:
    krundl.smolvm.uninstall()
    monkeypatch.setattr(_install, "KNOWN", ("0.0.1",))
    with pytest.raises(krundl.smolvm.UnknownSmolVM, match="0.0.36 is installed, and krundl knows 0.0.1"):
        krundl.smolvm.install()
    krundl.smolvm.install(any_version=True)
    assert krundl.smolvm.installed()


def test_a_libkrun_without_disks_does_not_raise_out_of_the_doctor(
    monkeypatch: pytest.MonkeyPatch, stubs: Stubs
) -> None:
    use(monkeypatch, stubs, "bare")
    doctor = importlib.import_module("smolvm.host.doctor")
    report = doctor.generate_doctor_report("libkrun")
    checks = {check.name: check for check in report.checks}
    assert checks["libkrun-library"].status == "fail" and "krun_add_disk" in checks["libkrun-library"].detail
    assert {"command:ssh", "rust-musl-target"} <= set(checks), "SmolVM's own checks besides stay"
    backends = importlib.import_module("smolvm.runtime.backends")
    assert not backends.libkrun_available()
    status = backends.libkrun_status()
    assert not status.available and not status.primary_present and "BLK=1" in status.message
    # As SmolVM 0.0.36 has it by itself:
    krundl.smolvm.uninstall()


def test_other_backends_are_judged_as_before(monkeypatch: pytest.MonkeyPatch, stubs: Stubs) -> None:
    use(monkeypatch, stubs, "1.19.7")
    doctor = importlib.import_module("smolvm.host.doctor")
    ours = doctor.generate_doctor_report("qemu")
    krundl.smolvm.uninstall()
    assert ours == doctor.generate_doctor_report("qemu")


def test_mounts_are_written_down(
    manager: SmolVMManager, monkeypatch: pytest.MonkeyPatch, stubs: Stubs, tmp_path: Path
) -> None:
    use(monkeypatch, stubs, "1.19.7")
    mounts = [WorkspaceMount(host_path=tmp_path), WorkspaceMount(host_path=tmp_path, guest_path="/out", writable=True)]
    info = manager.create(config(tmp_path, workspace_mounts=mounts))
    assert info.config.workspace_mounts == mounts
    assert manager.get("vm").config.workspace_mounts == mounts
    assert info.network is not None
    assert (info.network.guest_ip, info.network.gateway_ip) == ("10.0.2.15", "10.0.2.2")
    assert info.network.ssh_host_port is not None
    again = asyncio.run(manager.async_create(config(tmp_path, "vm2", workspace_mounts=mounts)))
    assert again.config.workspace_mounts == mounts


@pytest.mark.parametrize("library", ["1.18.0", "1.17.4"])
def test_mounts_that_this_libkrun_cannot_make_are_refused_before_anything_is_made(
    library: str, manager: SmolVMManager, monkeypatch: pytest.MonkeyPatch, stubs: Stubs, tmp_path: Path
) -> None:
    use(monkeypatch, stubs, library)
    asked = config(tmp_path, workspace_mounts=[WorkspaceMount(host_path=tmp_path)])
    for create in (manager.create, lambda asked: asyncio.run(manager.async_create(asked))):
        with pytest.raises(SmolVMError, match=r"install libkrun 1\.") as caught:
            create(asked)
        assert caught.value.details["problems"] and "--writable-mounts" in str(caught.value)
    assert manager.list_vms() == [] and not list((tmp_path / "data").rglob("vm.ext4"))


def test_mounts_that_cannot_be_written_down_leave_no_vm(
    manager: SmolVMManager, monkeypatch: pytest.MonkeyPatch, stubs: Stubs, tmp_path: Path
) -> None:
    use(monkeypatch, stubs, "1.19.7")
    update = manager.state.update_vm

    def full(vm_id: str, **changes: Any) -> Any:
        if "config" in changes:
            raise OSError("no space left")
        return update(vm_id, **changes)

    monkeypatch.setattr(manager.state, "update_vm", full)
    with pytest.raises(OSError, match="no space left"):
        manager.create(config(tmp_path, workspace_mounts=[WorkspaceMount(host_path=tmp_path)]))
    assert manager.list_vms() == []


def test_firecracker_and_qemu_are_as_they_were(manager: SmolVMManager, tmp_path: Path) -> None:
    mounts = [WorkspaceMount(host_path=tmp_path)]
    with pytest.raises(SmolVMError, match="only supported with the QEMU backend"):
        manager.create(config(tmp_path, backend="firecracker", workspace_mounts=mounts))


def test_a_vm_runs_and_is_stopped(
    manager: SmolVMManager, monkeypatch: pytest.MonkeyPatch, stubs: Stubs, tmp_path: Path, passt: Path
) -> None:
    use(monkeypatch, stubs, "hangs")
    port, before = free_port(), set(children())
    info = manager.create(
        config(
            tmp_path,
            workspace_mounts=[WorkspaceMount(host_path=tmp_path)],
            port_forwards=[PortForwardConfig(host_port=port, guest_port=80)],
            vsock=VsockConfig(guest_cid=9),
        )
    )
    started = manager.start("vm")
    assert started.status == VMState.RUNNING and started.pid is not None and started.pid in children()
    assert manager._is_process_running(started.pid)
    told = passt.with_name("passt.told").read_text()
    assert info.network is not None
    for wanted in ("--address 10.0.2.15", "--gateway 10.0.2.2", f"{port}:80", f"{info.network.ssh_host_port}:22"):
        assert wanted in told, told
    stopped = manager.stop("vm", timeout=5)
    assert stopped.status == VMState.STOPPED and set(children()) == before
    manager.delete("vm")


def test_a_vm_runs_and_is_stopped_on_asyncio(
    manager: SmolVMManager, monkeypatch: pytest.MonkeyPatch, stubs: Stubs, tmp_path: Path
) -> None:
    use(monkeypatch, stubs, "hangs")
    before = set(children())

    async def scenario() -> None:
        await manager.async_create(config(tmp_path))
        started = await manager.async_start("vm")
        assert started.pid in children()
        await manager.async_stop("vm", timeout=5)
        await manager.async_delete("vm")

    asyncio.run(scenario())
    assert set(children()) == before


def test_it_outlives_the_process_that_started_it(
    manager: SmolVMManager, monkeypatch: pytest.MonkeyPatch, stubs: Stubs, tmp_path: Path
) -> None:
    """SmolVM's command starts a VM and ends; another command stops it."""
    use(monkeypatch, stubs, "hangs")
    made = config(tmp_path)
    code = (
        "import sys, krundl.smolvm; krundl.smolvm.install()\n"
        "from pathlib import Path\n"
        "from smolvm import SmolVMManager, VMConfig\n"
        "manager = SmolVMManager(data_dir=Path(sys.argv[1]), socket_dir=Path(sys.argv[1]), backend='libkrun')\n"
        "manager.create(VMConfig.model_validate_json(sys.argv[2]))\n"
        "print(manager.start('vm').pid)\n"
    )
    arguments = [sys.executable, "-c", code, os.fspath(tmp_path / "theirs"), made.model_dump_json()]
    shown = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    pid = int(shown.stdout)
    try:
        assert os.readlink(f"/proc/{pid}/exe").endswith("krundl-vmm")
        info = manager.create(made).model_copy(update={"pid": pid, "status": VMState.RUNNING})
        manager._runtime_adapter_for_vm(info).stop(info, timeout=5)
    finally:
        gone = has_ended(pid)
        if not gone:
            os.kill(pid, 9)
    assert gone


def test_a_number_that_is_another_process_by_now_is_left_alone(manager: SmolVMManager, tmp_path: Path) -> None:
    info = manager.create(config(tmp_path))
    with subprocess.Popen(["sleep", "60"]) as other:
        info = info.model_copy(update={"pid": other.pid})
        manager._runtime_adapter_for_vm(info).stop(info, timeout=1)
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize(
    ("library", "words"),
    [
        ("crashes", "SIGABRT|signal 6|-6"),
        ("returns", "-22|EINVAL"),
        ("refuses", "krun_set_vm_config"),
        ("bare", "krun_add_disk"),
        ("missing", "no usable libkrun"),
    ],
)
def test_what_went_wrong_is_in_the_error(
    library: str, words: str, manager: SmolVMManager, monkeypatch: pytest.MonkeyPatch, stubs: Stubs, tmp_path: Path
) -> None:
    use(monkeypatch, stubs, library)
    manager.create(config(tmp_path))
    before = set(children())
    for asynchronous in (False, True):
        with pytest.raises(SmolVMError, match=words) as caught:
            if asynchronous:
                asyncio.run(manager.async_start("vm"))
            else:
                manager.start("vm")
        assert "vm" in str(caught.value)
        assert manager.get("vm").status == VMState.ERROR
        manager.state.update_vm("vm", status=VMState.STOPPED)
    assert set(children()) == before


def test_a_port_in_use_is_named_before_anything_starts(
    manager: SmolVMManager, monkeypatch: pytest.MonkeyPatch, stubs: Stubs, tmp_path: Path
) -> None:
    use(monkeypatch, stubs, "hangs")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        forward = PortForwardConfig(host_port=port, guest_port=80)
        manager.create(config(tmp_path, port_forwards=[forward]))
        with pytest.raises(SmolVMError, match=f"{port} is in use"):
            manager.start("vm")


def test_no_pause_and_no_snapshot_and_why(manager: SmolVMManager, tmp_path: Path) -> None:
    adapter = manager._runtime_adapter_for_backend("libkrun")
    for impossible in (adapter.pause, adapter.resume, adapter.create_snapshot, adapter.restore_snapshot):
        with pytest.raises(SmolVMError, match="no release of libkrun has functions for that"):
            impossible(None)


def test_a_guest_that_does_not_hear_is_ended_all_the_same(
    monkeypatch: pytest.MonkeyPatch, stubs: Stubs, tmp_path: Path
) -> None:
    """The stand-in for libkrun runs no guest, so nobody answers over SSH."""
    use(monkeypatch, stubs, "hangs")
    before = set(children())
    vm = SmolVM(config(tmp_path), data_dir=tmp_path / "data", socket_dir=tmp_path / "sockets", backend="libkrun")
    vm.start(boot_timeout=5)
    started = time.monotonic()
    vm.stop(timeout=2)
    assert vm.info.status == VMState.STOPPED and set(children()) == before
    assert time.monotonic() - started < 60
    vm.delete()
    vm.close()


def test_the_command_says_what_is_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubs: Stubs) -> None:
    use(monkeypatch, stubs, "bare")
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    words = ["sandbox", "create", "--backend", "libkrun", "--mount", os.fspath(tmp_path), "--json"]
    shown = subprocess.run(
        [sys.executable, "-m", "krundl.smolvm", *words], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 1
    assert "krun_add_disk" in json.loads(shown.stdout)["error"]["message"]


@pytest.mark.parametrize("runs", [True, False])
def test_libkrun_is_offered_where_it_runs_and_qemu_is_missing(runs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    backends = importlib.import_module("smolvm.runtime.backends")
    monkeypatch.setattr(backends, "_qemu_system_binary", lambda: None)
    monkeypatch.setattr(_install, "_verdict", lambda: _judge.Verdict(True, runs, None if runs else "no KVM"))
    with pytest.raises(SmolVMError, match="QEMU isn't installed") as caught:
        backends.ensure_backend_available("qemu")
    assert ("'--backend libkrun'" in str(caught.value)) is runs


def test_mounts_without_a_backend_stay_with_qemu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facade = importlib.import_module("smolvm.facade")
    asked: list[str | None] = []

    def stop(**options: Any) -> Any:
        asked.append(options["backend"])
        raise SmolVMError("far enough")

    monkeypatch.setattr(facade, "_build_auto_config", stop)
    with pytest.raises(SmolVMError, match="far enough"):
        SmolVM(mounts=[os.fspath(tmp_path)])
    assert asked == ["qemu"]
