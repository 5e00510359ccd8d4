"""SmolVM's descriptions of VMs as krundl's. SmolVM is not needed for it: what counts of its types is made up here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import krundl
import pytest
from krundl._spec import Passt
from krundl.smolvm import vm_spec
from krundl.smolvm._spec import PASST_NETWORK

ROOTFS = Path("/images/rootfs.ext4")
KERNEL = Path("/images/vmlinux")


@dataclass(frozen=True)
class Mount:
    host_path: Path
    guest_path: str = "/workspace"
    mount_tag: str | None = None
    writable: bool = False

    def resolved_tag(self, index: int) -> str:
        return self.mount_tag or f"workspace{index}"


@dataclass(frozen=True)
class Forward:
    host_port: int
    guest_port: int
    host_address: str = "127.0.0.1"


@dataclass(frozen=True)
class Vsock:
    guest_cid: int = 3
    uds_path: str | None = None


@dataclass(frozen=True)
class Policy:
    is_allow_all_domains: bool


@dataclass(frozen=True)
class Config:
    vcpu_count: int = 2
    memory: int = 512
    boot_mode: str = "direct_kernel"
    kernel_path: Path | None = KERNEL
    initrd_path: Path | None = None
    rootfs_path: Path | None = ROOTFS
    effective_rootfs_format: str = "raw-ext4"
    extra_drives: list[Path] = field(default_factory=list)
    workspace_mounts: list[Mount] = field(default_factory=list)
    port_forwards: list[Forward] = field(default_factory=list)
    vsock: Vsock | None = None
    network_rate_limit_mbps: int | None = None
    internet_settings: Policy | None = None


@dataclass(frozen=True)
class Network:
    mode: str = "nat"
    guest_ip: str | None = "10.0.2.15"
    gateway_ip: str | None = "10.0.2.2"
    netmask: str | None = "255.255.255.0"
    guest_mac: str = "AA:FC:00:00:00:01"
    ssh_host_port: int | None = 2200


CMDLINE = "console=ttyS0 reboot=k panic=1 init=/init root=/dev/vda rw"


def spec(config: Config, network: Network | None = None, **options: Any) -> dict[str, Any]:
    return vm_spec(config, network, **{"cmdline": CMDLINE, "log": "/data/vm.log", **options})


def test_the_smallest() -> None:
    assert spec(Config()) == {
        "vcpus": 2,
        "memory_mib": 512,
        "kernel": {"path": "/images/vmlinux", "cmdline": CMDLINE},
        "disks": [{"path": "/images/rootfs.ext4", "id": "rootfs", "format": "raw"}],
        "mounts": [],
        "serial": {"output": "/data/vm.log"},
    }


def test_every_field_is_one_that_krundl_has() -> None:
    """The whole of it comes back from krundl's own type."""
    everything = spec(
        Config(
            initrd_path=Path("/images/initrd"),
            extra_drives=[Path("/images/data.qcow2")],
            workspace_mounts=[Mount(Path("/src"))],
            port_forwards=[Forward(8080, 80)],
            vsock=Vsock(),
        ),
        Network(),
        socket="/run/agent.sock",
        listeners={5000: "/run/agent.sock_5000"},
    )
    made = krundl.VmSpec.from_dict(everything)
    assert made.kernel is not None and made.kernel.initrd == "/images/initrd"
    assert [mount.tag for mount in made.mounts or []] == ["workspace0"]


def test_another_kernel_may_be_named() -> None:
    assert spec(Config(), kernel="/other/vmlinux")["kernel"] == {"path": "/other/vmlinux", "cmdline": CMDLINE}


def test_the_root_is_the_first_disk_and_stays_it() -> None:
    drives = [Path("/d/one.img"), Path("/d/two.QCOW2"), Path("/d/seed.iso")]
    assert spec(Config(effective_rootfs_format="qcow2", extra_drives=drives))["disks"] == [
        {"path": "/images/rootfs.ext4", "id": "rootfs", "format": "qcow2"},
        {"path": "/d/one.img", "id": "data0", "format": "raw"},
        {"path": "/d/two.QCOW2", "id": "data1", "format": "qcow2"},
        {"path": "/d/seed.iso", "id": "data2", "format": "raw", "read_only": True},
    ]


@pytest.mark.parametrize(
    ("cmdline", "serial"),
    [
        ("console=ttyS0 quiet", True),
        ("quiet console=ttyAMA0", True),
        ("console=ttyS0,115200n8", True),
        ("console=hvc0", False),
        ("quiet", False),
        ("xconsole=ttyS0", False),
    ],
)
def test_a_serial_console_is_there_where_the_command_line_names_one(cmdline: str, serial: bool) -> None:
    assert ("serial" in spec(Config(), cmdline=cmdline)) is serial


def test_mounts_are_read_only_unless_they_are_writable() -> None:
    mounts = [Mount(Path("/src")), Mount(Path("/out"), "/out", "results", writable=True)]
    assert spec(Config(workspace_mounts=mounts))["mounts"] == [
        {"host": "/src", "guest": "/workspace", "tag": "workspace0", "read_only": True},
        {"host": "/out", "guest": "/out", "tag": "results", "read_only": False},
    ]


def test_ssh_and_every_forward_are_ports_of_a_passt() -> None:
    forwards = [Forward(8080, 80), Forward(9090, 90, "0.0.0.0")]
    (nic,) = spec(Config(port_forwards=forwards), Network())["nics"]
    assert nic["mac"] == "AA:FC:00:00:00:01"
    assert [(port["address"], port["host"], port["guest"]) for port in nic["passt"]["ports"]] == [
        ("127.0.0.1", 2200, 22),
        ("127.0.0.1", 8080, 80),
        ("0.0.0.0", 9090, 90),
    ]


def test_on_a_mac_gvproxy_has_addresses_of_its_own() -> None:
    (nic,) = spec(Config(), Network(guest_ip="192.168.127.2"), system="Darwin")["nics"]
    assert nic["gvproxy"]["ports"] == [{"host": 2200, "guest": 22, "address": "127.0.0.1"}]


def test_the_guests_address_is_the_one_that_krundls_passt_delivers_to() -> None:
    assert (PASST_NETWORK[0], PASST_NETWORK[1]) == ("10.0.2.15", "10.0.2.2")
    said = Passt.__doc__ or ""
    assert f"{PASST_NETWORK[0]}/24" in said and PASST_NETWORK[1] in said


def test_without_a_port_for_ssh_there_is_none() -> None:
    (nic,) = spec(Config(), replace(Network(), ssh_host_port=None))["nics"]
    assert nic["passt"]["ports"] == []


def test_the_agent_is_reached_and_the_host_is_reachable() -> None:
    """Firecracker's names: the socket for the host's connections, and PATH_PORT for the guest's."""
    with_vsock = Config(vsock=Vsock(guest_cid=7))
    listeners = {5001: "/run/a_5001", 5000: Path("/run/a_5000"), 1024: "/run/a_1024"}
    assert spec(with_vsock, socket=Path("/run/a"), listeners=listeners)["vsock"]["ports"] == [
        {"port": 1024, "path": "/run/a", "listen": True},
        {"port": 5000, "path": "/run/a_5000"},
        {"port": 5001, "path": "/run/a_5001"},
    ]
    assert "vsock" not in spec(Config(), socket="/run/a")


@pytest.mark.parametrize(
    ("config", "network", "field", "kind", "fix"),
    [
        (Config(boot_mode="firmware", kernel_path=None), None, "kernel", "invalid", "backend='qemu'"),
        (Config(kernel_path=None), None, "kernel", "invalid", "kernel_path"),
        (Config(rootfs_path=None), None, "disks", "invalid", "rootfs_path"),
        (Config(network_rate_limit_mbps=10), None, "nics[0]", "unsupported", "network_rate_limit_mbps"),
        (Config(internet_settings=Policy(False)), None, "nics[0]", "unsupported", "internet_settings"),
        (Config(), Network(mode="bridge"), "nics[0]", "unsupported", "'nat'"),
        (Config(), Network(guest_ip="192.168.127.2"), "nics[0]", "invalid", "delete the sandbox"),
    ],
)
def test_what_cannot_be_had_is_refused(
    config: Config, network: Network | None, field: str, kind: str, fix: str
) -> None:
    with pytest.raises(krundl.InvalidSpec) as caught:
        spec(config, network)
    (problem,) = caught.value.problems
    assert (problem.field, problem.kind) == (field, kind) and fix in (problem.fix or "")
    assert field in caught.value.message and fix in caught.value.message


def test_all_refusals_come_at_once() -> None:
    wrong = Config(
        boot_mode="firmware",
        rootfs_path=None,
        network_rate_limit_mbps=1,
        internet_settings=Policy(False),
    )
    with pytest.raises(krundl.InvalidSpec) as caught:
        spec(wrong, Network(mode="bridge"))
    assert len(caught.value.problems) == 5


def test_a_policy_that_allows_everything_is_none() -> None:
    assert spec(Config(internet_settings=Policy(True))) == spec(Config())
