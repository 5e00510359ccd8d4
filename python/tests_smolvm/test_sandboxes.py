"""SmolVM's own classes and commands, real guests, a real libkrun: in the lab of `cargo xtask test --smolvm`.

SmolVM's builder of images (Docker) and its download of a kernel are replaced, before (image.py); nothing else is. In the
guest runs SmolVM's own /init.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import krundl.smolvm
import pytest

IMAGES = os.environ.get("KRUNDL_TEST_IMAGES", "")

if not IMAGES or os.environ.get("KRUNDL_LAB") != "1":
    pytest.skip("needs the lab (cargo xtask test --smolvm)", allow_module_level=True)

# What anything may take here, where the processor is emulated: seconds.
PATIENCE = 120.0


@pytest.fixture(scope="module", autouse=True)
def machine() -> None:
    """passt takes the host's network for the guest's: the lab's machine has none, so it gets one that leads nowhere."""
    for line in (
        "link add lab0 type dummy",
        "addr add 192.0.2.2/24 dev lab0",
        "link set lab0 up",
        "route add default via 192.0.2.1",
    ):
        subprocess.run(["ip", *line.split()], check=True)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user who has nothing but SmolVM's images. What the guests said is shown with a test that fails."""
    place = tmp_path / "home"
    (place / ".smolvm").mkdir(parents=True)
    (place / ".smolvm/images").symlink_to(IMAGES)
    monkeypatch.setenv("HOME", os.fspath(place))
    monkeypatch.setenv("SMOLVM_DATA_DIR", os.fspath(tmp_path / "data"))
    yield place
    for log in (tmp_path / "data").glob("*.log"):
        print(f"{log.name}:\n{log.read_text(errors='replace')[-4000:]}")


@pytest.fixture(autouse=True)
def nothing_runs_on() -> Iterator[None]:
    """No VM, no passt, nothing at all that was not there before."""
    before = set(processes())
    yield
    for _ in range(100):
        left = {pid: name for pid, name in processes().items() if pid not in before}
        if not left:
            return
        time.sleep(0.1)
    pytest.fail(f"still running: {left}")


def processes() -> dict[int, str]:
    found = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                name = (place / "comm").read_text().strip()
                if (place / "cmdline").read_bytes():
                    found[int(place.name)] = name
            except OSError:
                pass
    return found


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two directories of the host with a file each."""
    for name in ("ro", "rw"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(f"{name}, written on the host\n")
    return tmp_path


@pytest.fixture
def installed() -> Iterator[None]:
    krundl.smolvm.install()
    yield
    krundl.smolvm.uninstall()


def config(name: str, **fields: Any) -> tuple[Any, str]:
    """As SmolVM describes a VM where nobody says more than the backend."""
    from smolvm.facade import _build_auto_config

    made, key = _build_auto_config(vm_name=name, backend="libkrun")
    assert key is not None
    # The lab's processor takes its time, and its memory is shared.
    return made.model_copy(update={"memory": 256, **fields}), key


def said(vm: Any, command: str) -> str:
    result = vm.run(command, timeout=60)
    assert result.exit_code == 0, (command, result)
    return str(result.stdout).strip()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.usefixtures("installed")
def test_mounts_disks_ports_and_vsock(folders: Path, tmp_path: Path) -> None:
    from smolvm import SmolVM, VMState, WorkspaceMount
    from smolvm.types import PortForwardConfig, VsockConfig

    extra = tmp_path / "extra.img"
    extra.write_bytes(b"on the extra drive\n".ljust(1 << 20, b"\0"))
    port = free_port()
    described, key = config(
        "classes",
        workspace_mounts=[
            WorkspaceMount(host_path=folders / "ro"),
            WorkspaceMount(host_path=folders / "rw", guest_path="/out", mount_tag="results", writable=True),
        ],
        extra_drives=[extra],
        port_forwards=[PortForwardConfig(host_port=port, guest_port=8000)],
        vsock=VsockConfig(guest_cid=7, uds_path=os.fspath(tmp_path / "agent.sock")),
    )
    on_the_host = socket.socket(socket.AF_UNIX)
    on_the_host.bind(os.fspath(tmp_path / "agent.sock_5000"))
    on_the_host.listen()
    phases: list[str] = []
    with closing(SmolVM(described, ssh_key_path=key)) as vm:
        vm.start(boot_timeout=PATIENCE, on_progress=phases.append)
        assert phases == ["Waiting for SSH...", "Mounting 2 workspaces..."]
        pid = vm.info.pid
        assert pid is not None and os.readlink(f"/proc/{pid}/exe").endswith("/krundl-vmm")

        # Both ways on a writable mount; on a read-only one the guest has its own layer.
        assert said(vm, "cat /workspace/file /out/file").splitlines() == [
            "ro, written on the host",
            "rw, written on the host",
        ]
        said(vm, "echo changed in the guest > /workspace/file; echo new > /workspace/new; echo back > /out/new")
        assert said(vm, "cat /workspace/file") == "changed in the guest"
        assert (folders / "ro/file").read_text() == "ro, written on the host\n"
        assert not (folders / "ro/new").exists() and (folders / "rw/new").read_text() == "back\n"
        (folders / "rw/later").write_text("later\n")
        assert said(vm, "cat /out/later") == "later"

        # Read-only is the host's word: root in the guest cannot take it back.
        lower = "/mnt/.smolvm-ws-workspace0"
        refused = vm.run(f"mount -o remount,rw {lower} 2>&1; touch {lower}/f", timeout=60)
        assert refused.exit_code != 0 and "Read-only file system" in refused.stderr, refused
        assert not (folders / "ro/f").exists()

        # The root stays the root, and the extra drive is the second.
        assert said(vm, "head -n 1 /dev/vdb") == "on the extra drive"
        assert said(vm, "mount | grep ' / '").startswith("/dev/root on / type ext4")

        # A port besides SSH's. Debian 12's passt wants the host to speak first.
        said(vm, "(nc -l -p 8000 -e cat >/dev/null 2>&1 &) ; sleep 1")
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(b"hello\n")
            assert connection.recv(100) == b"hello\n"

        # vsock: the guest reaches a socket of the host, and the host the port of the guest's agent.
        said(vm, "(vsock connect 5000 > /tmp/heard; vsock listen 1024 >> /tmp/heard) < /dev/null 2>&1 &")
        heard, _ = on_the_host.accept()
        with heard, on_the_host:
            heard.sendall(b"from the host\n")
            assert heard.recv(100) == b"from the guest\n"
        said(vm, "while ! grep listening /tmp/heard; do sleep 0.2; done")
        with socket.socket(socket.AF_UNIX) as agent:
            agent.connect(os.fspath(tmp_path / "agent.sock"))
            agent.sendall(b"to the agent\n")
            assert agent.recv(100) == b"answer of the guest\n"
        assert said(vm, "cat /tmp/heard").splitlines() == ["from the host", "listening", "to the agent"]

        # The console's log is in SmolVM's file: ttyS0, as SmolVM's command line has it.
        log = vm.data_dir / "classes.log"
        assert "SmolVM init complete" in log.read_text(errors="replace")

        # Its end: asked over SSH, in time, with everything written out.
        said(vm, "echo kept > /root/kept")
        vm.stop(timeout=60)
        assert vm.info.status == VMState.STOPPED and pid not in processes()
        assert not (tmp_path / "agent.sock").exists()
        assert "reboot: Restarting system" in log.read_text(errors="replace")

        # And again: the mounts are made anew, the disk is as it was, and so is what the guest wrote over the share.
        vm.start(boot_timeout=PATIENCE)
        assert said(vm, "cat /root/kept /workspace/file /out/later").splitlines() == [
            "kept",
            "changed in the guest",
            "later",
        ]
        assert "recovery complete" not in said(vm, "dmesg"), "the disk was made read-only before the end"
        vm.delete()
    assert not list((tmp_path / "data/disks").glob("classes*"))


@pytest.mark.usefixtures("installed")
def test_asyncio(folders: Path) -> None:
    from smolvm import SmolVM, WorkspaceMount

    described, key = config("async", workspace_mounts=[WorkspaceMount(host_path=folders / "ro")])

    async def scenario() -> None:
        vm = SmolVM(described, ssh_key_path=key)
        await vm.async_start(boot_timeout=PATIENCE)
        result = await vm.async_run("cat /workspace/file", timeout=60)
        assert result.stdout.strip() == "ro, written on the host"
        await vm.async_stop(timeout=60)
        await vm.async_delete()
        vm.close()

    asyncio.run(scenario())


@pytest.mark.usefixtures("installed")
def test_a_port_in_use_and_a_vm_that_dies_are_told(folders: Path, tmp_path: Path) -> None:
    from smolvm import SmolVM, SmolVMError
    from smolvm.types import PortForwardConfig

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        described, key = config("taken", port_forwards=[PortForwardConfig(host_port=port, guest_port=80)])
        vm = SmolVM(described, ssh_key_path=key)
        with pytest.raises(SmolVMError, match=str(port)):
            vm.start(boot_timeout=PATIENCE)
        vm.delete()
        vm.close()


@pytest.mark.usefixtures("installed")
def test_what_the_documentation_shows(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from smolvm import SmolVM

    monkeypatch.chdir(folders / "ro")
    # 30 seconds are too few in the lab.
    monkeypatch.setattr(SmolVM.start, "__defaults__", (PATIENCE,))
    text = (Path(__file__).parents[2] / "docs/smolvm.md").read_text()
    shown = text.split("```python\n")[1].split("```")[0].replace("timeout=10", "timeout=60")
    exec(compile(shown, "docs/smolvm.md", "exec"), {})
    assert " file" in capsys.readouterr().out


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "krundl.smolvm", *words], capture_output=True, text=True, timeout=300, check=False
    )


def test_the_command(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the epic is about: `sandbox create --backend libkrun --mount ./`."""
    monkeypatch.chdir(folders / "ro")
    created = command(
        *("sandbox", "create", "--backend", "libkrun", "--mount", "./", "--name", "cli"),
        *("--memory", "256", "--boot-timeout", str(PATIENCE)),
    )
    assert created.returncode == 0, created
    # Whoever created it is gone, and it runs on.
    (pid,) = [pid for pid, name in processes().items() if name == "libkrun VM"]
    script = "cat /workspace/file; echo guest > /workspace/file; cat /workspace/file"
    shown = command("sandbox", "exec", "cli", "--", "sh", "-c", script)
    assert shown.returncode == 0, shown
    assert [line for line in shown.stdout.splitlines() if line] == ["ro, written on the host", "guest"], shown
    assert Path("file").read_text() == "ro, written on the host\n"
    stopped = command("sandbox", "stop", "cli", "--timeout", "60")
    assert stopped.returncode == 0 and pid not in processes(), stopped
    deleted = command("sandbox", "delete", "cli")
    assert deleted.returncode == 0, deleted


def test_the_doctor_is_content_where_guests_run() -> None:
    shown = command("doctor", "--backend", "libkrun", "--json")
    checks = {check["name"]: check for check in json.loads(shown.stdout)["data"]["checks"]}
    # SmolVM's builder of its agent wants Rust; nothing here does.
    checks.pop("rust-musl-target")
    assert {check["status"] for check in checks.values()} == {"pass"}, checks
    assert os.environ["KRUNDL_LIBRARY"] in checks["libkrun-library"]["detail"]
