"""What SmolVM asks for, as krundl's spec. Pure: nothing is read, opened or started."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from .._errors import InvalidSpec

AGENT_PORT = 1024
"""The vsock port on which SmolVM's agent listens in the guest."""

PASST_NETWORK = ("10.0.2.15", "10.0.2.2", "255.255.255.0")
"""The address that krundl's passt gives a guest, its gateway, and their network's mask: the same as of SmolVM's QEMU."""

Path = os.PathLike[str]


# The parts of SmolVM's types that count here. SmolVM itself is not needed to read, check or test this module.
class Mount(Protocol):
    """`smolvm.types.WorkspaceMount`."""

    @property
    def host_path(self) -> Path: ...
    @property
    def guest_path(self) -> str: ...
    @property
    def writable(self) -> bool: ...
    def resolved_tag(self, index: int, /) -> str: ...


class Forward(Protocol):
    """`smolvm.types.PortForwardConfig`."""

    @property
    def host_port(self) -> int: ...
    @property
    def guest_port(self) -> int: ...
    @property
    def host_address(self) -> str: ...


class Vsock(Protocol):
    """`smolvm.types.VsockConfig`."""

    @property
    def guest_cid(self) -> int: ...
    @property
    def uds_path(self) -> str | None: ...


class Policy(Protocol):
    """`smolvm.types.InternetSettings`."""

    @property
    def is_allow_all_domains(self) -> bool: ...


class Config(Protocol):
    """`smolvm.types.VMConfig`."""

    @property
    def vcpu_count(self) -> int: ...
    @property
    def memory(self) -> int: ...
    @property
    def boot_mode(self) -> str: ...
    @property
    def kernel_path(self) -> Path | None: ...
    @property
    def initrd_path(self) -> Path | None: ...
    @property
    def rootfs_path(self) -> Path | None: ...
    @property
    def effective_rootfs_format(self) -> str: ...
    @property
    def extra_drives(self) -> Sequence[Path]: ...
    @property
    def workspace_mounts(self) -> Sequence[Mount]: ...
    @property
    def port_forwards(self) -> Sequence[Forward]: ...
    @property
    def vsock(self) -> Vsock | None: ...
    @property
    def network_rate_limit_mbps(self) -> int | None: ...
    @property
    def internet_settings(self) -> Policy | None: ...


class Network(Protocol):
    """`smolvm.types.NetworkConfig`."""

    @property
    def mode(self) -> str: ...
    @property
    def guest_ip(self) -> str | None: ...
    @property
    def gateway_ip(self) -> str | None: ...
    @property
    def netmask(self) -> str | None: ...
    @property
    def guest_mac(self) -> str: ...
    @property
    def ssh_host_port(self) -> int | None: ...


def vm_spec(
    config: Config,
    network: Network | None,
    *,
    cmdline: str,
    log: str | Path,
    socket: str | Path | None = None,
    listeners: Mapping[int, str | Path] | None = None,
    kernel: str | Path | None = None,
    system: str = "Linux",
) -> dict[str, Any]:
    """The spec of a VM as SmolVM describes it, with the names of its JSON.

    `config` and `network` are those of SmolVM's VMInfo. `cmdline` is the kernel's command line as SmolVM resolves it,
    and `log` the file that gets the kernel's log. Where the config has vsock, `socket` is the socket on which the host
    reaches the guest's agent, and `listeners` are the host's own sockets by the vsock port on which the guest reaches
    them. `kernel` is another one than the config's. `system` is the host's, as `platform.system()` names it.

    Raises InvalidSpec with all that libkrun cannot do, instead of leaving it out.
    """
    refusals = _refusals(config, network, system)
    if refusals:
        raise InvalidSpec("; ".join(_words(refusal) for refusal in refusals), {"problems": refusals})
    spec: dict[str, Any] = {
        "vcpus": config.vcpu_count,
        "memory_mib": config.memory,
        # Their format is told from the file: an ELF vmlinux, or what else this libkrun takes.
        "kernel": {"path": _text(kernel or config.kernel_path), "cmdline": cmdline},
        "disks": _disks(config),
        "mounts": shares(config.workspace_mounts),
    }
    if config.initrd_path is not None:
        spec["kernel"]["initrd"] = _text(config.initrd_path)
    if _names_a_serial_console(cmdline):
        # libkrun's own console is hvc0: one that the command line names besides has to be made.
        spec["serial"] = {"output": _text(log)}
    if network is not None:
        spec["nics"] = [_nic(config, network, system)]
    if config.vsock is not None and socket is not None:
        spec["vsock"] = {"ports": _vsock(socket, listeners or {})}
    return spec


def shares(mounts: Sequence[Mount]) -> list[dict[str, Any]]:
    """SmolVM's mounts as krundl's. Read-only is the host's side's business, whatever the guest puts over it."""
    return [
        {
            "host": _text(mount.host_path),
            "guest": mount.guest_path,
            "tag": mount.resolved_tag(index),
            "read_only": not mount.writable,
        }
        for index, mount in enumerate(mounts)
    ]


def _disks(config: Config) -> list[dict[str, Any]]:
    """The root is the first, so that it is /dev/vda; formats as SmolVM tells them for QEMU."""
    root_format = "qcow2" if config.effective_rootfs_format == "qcow2" else "raw"
    disks = [{"path": _text(config.rootfs_path), "id": "rootfs", "format": root_format}]
    for index, drive in enumerate(config.extra_drives):
        suffix = os.path.splitext(_text(drive))[1].lower()
        disk: dict[str, Any] = {"path": _text(drive), "id": f"data{index}"}
        disk["format"] = "qcow2" if suffix == ".qcow2" else "raw"
        if suffix == ".iso":
            disk["read_only"] = True
        disks.append(disk)
    return disks


def _nic(config: Config, network: Network, system: str) -> dict[str, Any]:
    """A card of its own, behind a program that lives as long as the VM and needs no privileges."""
    ports: list[dict[str, Any]] = []
    if network.ssh_host_port is not None:
        ports.append({"host": network.ssh_host_port, "guest": 22, "address": "127.0.0.1"})
    for forward in config.port_forwards:
        ports.append({"host": forward.host_port, "guest": forward.guest_port, "address": forward.host_address})
    backend = "gvproxy" if system == "Darwin" else "passt"
    return {"mac": network.guest_mac, backend: {"ports": ports}}


def _vsock(socket: str | Path, listeners: Mapping[int, str | Path]) -> list[dict[str, Any]]:
    agent = {"port": AGENT_PORT, "path": _text(socket), "listen": True}
    # A port has one direction; the agent's is taken.
    others = [{"port": port, "path": _text(path)} for port, path in sorted(listeners.items()) if port != AGENT_PORT]
    return [agent, *others]


def _names_a_serial_console(cmdline: str) -> bool:
    return any(word.startswith(("console=ttyS", "console=ttyAMA")) for word in cmdline.split())


def _refusals(config: Config, network: Network | None, system: str) -> list[dict[str, Any]]:
    found = []
    if config.boot_mode != "direct_kernel" or config.kernel_path is None:
        found.append(
            _refusal(
                "kernel",
                f"SmolVM's boot mode {config.boot_mode!r} has no kernel on the host, and this way to libkrun needs one",
                "set boot_mode='direct_kernel' and kernel_path, or use backend='qemu'",
            )
        )
    if config.rootfs_path is None:
        found.append(_refusal("disks", "there is no root file system", "set rootfs_path"))
    if config.network_rate_limit_mbps is not None:
        found.append(
            _refusal(
                "nics[0]",
                "neither libkrun nor passt limits a network's rate",
                "leave out network_rate_limit_mbps, or use backend='firecracker'",
                "unsupported",
            )
        )
    if config.internet_settings is not None and not config.internet_settings.is_allow_all_domains:
        found.append(
            _refusal(
                "nics[0]",
                "nothing here restricts what the guest reaches",
                "leave out internet_settings, or use backend='firecracker'",
                "unsupported",
            )
        )
    if network is not None and network.mode != "nat":
        found.append(
            _refusal(
                "nics[0]",
                f"the network mode {network.mode!r} is made for tap devices of other backends",
                "use network mode 'nat', or backend='qemu'",
                "unsupported",
            )
        )
    elif network is not None and system != "Darwin" and network.guest_ip != PASST_NETWORK[0]:
        # The kernel's command line has it, and passt would not deliver to it.
        found.append(
            _refusal(
                "nics[0]",
                f"the guest's address was settled to be {network.guest_ip}, without krundl, and passt's is {PASST_NETWORK[0]}",
                "delete the sandbox, and create it with krundl installed ('python -m krundl.smolvm sandbox create')",
            )
        )
    return found


def _refusal(
    field: str, reason: str, fix: str, kind: Literal["invalid", "unsupported"] = "invalid"
) -> dict[str, Any]:
    return {"field": field, "kind": kind, "reason": reason, "fix": fix}


def _words(refusal: Mapping[str, Any]) -> str:
    return f"{refusal['field']}: {refusal['reason']} (fix: {refusal['fix']})"


def _text(path: str | Path | None) -> str:
    return os.fspath(path) if path is not None else ""
