# Written by `cargo xtask generate` from the Rust types. Do not edit.
"""What a VM is to be."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal, Union

from ._data import Data, _SpecBase

__all__ = [
    "Console",
    "ConsoleFile",
    "ConsolePort",
    "Control",
    "ControlSocket",
    "Disk",
    "DiskFormat",
    "DiskSync",
    "Display",
    "Exec",
    "Forward",
    "Gpu",
    "Gvproxy",
    "HostPath",
    "Kernel",
    "KernelConsole",
    "KernelFormat",
    "LogLevel",
    "Mount",
    "NetFeature",
    "Nic",
    "Overlay",
    "OverlayDir",
    "OverlayFile",
    "Passt",
    "Port",
    "Protocol",
    "Rlimit",
    "Root",
    "RootDisk",
    "Semantics",
    "Serial",
    "Tee",
    "Text",
    "Tsi",
    "VmSpec",
    "Vsock",
    "VsockPort",
]

HostPath = Union[str, "os.PathLike[str]"]
"""A path on the host."""

Text = Union[str, bytes, "os.PathLike[str]"]
"""Text of any bytes but NUL; a string's surrogates stand for bytes, as everywhere in Python."""

Console = Union[Literal["inherit", "none"], "ConsoleFile"]
"""Where the guest's console and the workload's standard streams go."""


Control = Union[Literal["private"], "ControlSocket"]
"""Where the control port is on the host. Over it come further commands (`exec`), figures and the request to end, by
krundl's program in the guest. Whoever can connect to the socket can do anything in the guest.
"""


DiskFormat = Literal[
    "raw",
    "qcow2",
    "vmdk",
]
"""The format of a disk image."""


DiskSync = Literal[
    "none",
    "relaxed",
    "full",
]
"""What the flushes of a guest do to a disk."""


Protocol = Literal[
    "tcp",
    "udp",
]
"""What a port speaks."""


KernelFormat = Literal[
    "auto",
    "raw",
    "elf",
    "pe_gz",
    "image_bz2",
    "image_gz",
    "image_zstd",
]
"""The format of a kernel file."""


KernelConsole = Literal[
    "hvc0",
    "ttyS0",
]
"""The console of the guest's kernel (`console=` on its command line)."""


LogLevel = Literal[
    "off",
    "error",
    "warn",
    "info",
    "debug",
    "trace",
]
"""What libkrun logs."""


Semantics = Literal[
    "complete",
    "simplified",
]
"""Ownership semantics of a share (`krun_add_virtiofs4`)."""


NetFeature = Literal[
    "csum",
    "guest_csum",
    "guest_tso4",
    "guest_tso6",
    "guest_ufo",
    "host_tso4",
    "host_tso6",
    "host_ufo",
]
"""What a network card offers (`NET_FEATURE_*`, the names of virtio-net)."""



@dataclass(kw_only=True)
class ConsoleFile(Data):
    """The console in a file."""

    file: HostPath
    """The file, which is truncated."""


@dataclass(kw_only=True)
class ControlSocket(Data):
    """The control port at a path."""

    socket: HostPath
    """The socket, which libkrun makes, in a directory with mode 0700."""


@dataclass(kw_only=True)
class ConsolePort(Data):
    """A further port of a virtio console, `/dev/vportNpM` in the guest: `tty`, or one or both of `input` and `output`."""

    name: str
    """Its name in the guest (`/sys/class/virtio-ports/*/name`); unique."""
    input: HostPath | None = None
    """What is read into it."""
    output: HostPath | None = None
    """Where its output goes; a file is made where there is none, and added to."""
    tty: HostPath | None = None
    """A terminal for both."""


@dataclass(kw_only=True)
class Disk(Data):
    """A disk: a file or block device of the host that the guest has as `/dev/vda`, `/dev/vdb` and so on, in the spec's
    order. The guest mounts it itself, unless it is the root.
    """

    path: HostPath
    """The image or block device."""
    direct_io: bool = False
    """Whether the host's page cache is passed by; needs `krun_add_disk3`."""
    format: DiskFormat = "raw"
    """The image's format."""
    id: str | None = None
    """What newer releases show as the disk's serial number, at most 20 bytes, unique; `disk0` and so on where absent."""
    read_only: bool = False
    """Whether the guest may not write to it. Required for `vmdk`, which libkrun only reads."""
    sync: DiskSync | None = None
    """What the guest's flushes do; the library's default where absent, else needs `krun_add_disk3`."""


@dataclass(kw_only=True)
class Display(Data):
    """A display of the graphics card. krundl shows it nowhere: that takes code inside the VM's process."""

    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    dpi: int | None = None
    """Dots per inch."""
    edid: HostPath | None = None
    """A file with the display's whole EDID block, instead of the three fields above."""
    physical_size_mm: tuple[int, int] | None = None
    """Width and height in millimetres."""
    refresh_rate: int | None = None
    """Refresh rate in Hz."""


@dataclass(kw_only=True)
class Exec(Data):
    """The workload."""

    path: Text
    """The program's path in the guest; without a slash it is searched in the `PATH` of `env`."""
    args: list[Text] = field(default_factory=list)
    """Its arguments, without the program's own name. Any bytes but NUL."""
    env: dict[str, Text] = field(default_factory=dict)
    """Its environment: exactly this, plus `PATH` and `HOME` where they are not named."""
    workdir: Text = "/"
    """Its working directory, absolute."""


@dataclass(kw_only=True)
class Forward(Data):
    """A port of the host that leads to one of the guest."""

    guest: int
    """Its number in the guest."""
    address: str = "127.0.0.1"
    """The host's IPv4 address on which it is open: only this host reaches the default, 127.0.0.1; 0.0.0.0 is all."""
    host: int = 0
    """Its number on the host; 0, the default, for any that is free when the VM starts: the running VM tells which."""
    protocol: Protocol = "tcp"
    """TCP or UDP."""


@dataclass(kw_only=True)
class Gpu(Data):
    """A graphics card. libkrun must be built with gpu."""

    shm_mib: int | None = None
    """Size of the window for shared memory in MiB; libkrun's default (8 GiB) where absent."""
    virgl_flags: int = 0
    """virglrenderer's flags, as libkrun.h has them."""


@dataclass(kw_only=True)
class Gvproxy(Data):
    """A gvproxy (gvisor-tap-vsock) that krundl starts for a card. The guest reaches what this host reaches, and this host's
    loopback at 192.168.127.254. It is always 192.168.127.2/24 itself, with the gateway 192.168.127.1.
    """

    ports: list[Forward] = field(default_factory=list)
    """Ports of the host that lead to ports of the guest. No other port of the guest is open on the host."""
    program: HostPath | None = None
    """The program; searched in `PATH` and where podman keeps it where absent."""

    _nested = {
        "ports": ("list", Forward),
    }


@dataclass(kw_only=True)
class Kernel(Data):
    """A kernel of the user's own."""

    path: HostPath
    """The file."""
    cmdline: str | None = None
    """The kernel's command line. It replaces libkrun's own, and must therefore name libkrun's init
    (`init=/init.krun`) and root (`rootfstype=virtiofs rw`) for a workload (`exec`) to run. Without a workload it
    boots an init of the guest's own. ASCII only.
    """
    format: KernelFormat = "auto"
    """Its format."""
    initrd: HostPath | None = None
    """An initial RAM disk."""


@dataclass(kw_only=True)
class Mount(Data):
    """A directory of the host that the guest sees."""

    host: HostPath
    """The directory on the host."""
    dax_mib: int = 0
    """Size of the DAX window in MiB, a multiple of 2; 0 for none."""
    guest: str = "/workspace"
    """Where the guest sees it: absolute, not `/`."""
    overlay: bool = False
    """Whether the guest may write without changing anything on the host: what it writes stays in its memory and is
    gone with it. Needs libkrun 1.19.6, and a guest's kernel with overlayfs.
    """
    read_only: bool = False
    """Whether the guest may not write; enforced on the host's side, so it needs `krun_add_virtiofs3`."""
    semantics: Semantics | None = None
    """Who owns what, as libkrun calls it; the library's default where absent."""
    tag: str | None = None
    """The virtio-fs tag, at most 36 bytes; chosen by krundl where absent."""


@dataclass(kw_only=True)
class Passt(Data):
    """A passt that krundl starts for a card. The guest reaches what this host reaches."""

    host_loopback: bool = False
    """Whether the guest reaches what listens on this host's loopback (127.0.0.1), at the gateway's address."""
    ports: list[Forward] = field(default_factory=list)
    """Ports of the host that lead to ports of the guest. No other port of the guest is open on the host."""
    program: HostPath | None = None
    """The program; searched in `PATH` where absent."""

    _nested = {
        "ports": ("list", Forward),
    }


@dataclass(kw_only=True)
class Nic(Data):
    """A network card: exactly one of `passt`, `gvproxy`, `unixstream`, `unixgram` and `tap`. With any there is no TSI."""

    address: str | None = None
    """The card's IPv4 address and the length of its network's prefix, `192.0.2.7/24`: krundl's program in the guest sets
    it. With `passt` also what that serves, 10.0.2.15/24 where absent.
    """
    dhcp: bool = False
    """Whether krundl's program in the guest asks for all that with DHCP."""
    dns: list[str] | None = None
    """The name servers that stand in the guest's /etc/resolv.conf; where absent those that DHCP names, with `passt` this
    host's, with `gvproxy` its own.
    """
    features: list[NetFeature] | None = None
    """What is offered to the guest's driver; libkrun's usual set where absent."""
    gateway: str | None = None
    """The way out of that network. With `passt` the network's first address, or the second if the first is the guest's."""
    gvproxy: Gvproxy | None = None
    """A gvproxy of its own: krundl starts it before the VM, and it ends with the VM. Takes no root."""
    mac: str | None = None
    """The hardware address, `5a:94:ef:e4:0c:ee` and those following it where absent."""
    optional: bool = False
    """Whether the workload runs although the card could not be set up; else that ends the VM."""
    passt: Passt | None = None
    """A passt of its own: krundl starts it before the VM, and it ends with the VM. Takes no root."""
    tap: str | None = None
    """The name of a tap interface of the host."""
    unixgram: HostPath | None = None
    """The datagram socket of a gvproxy (`-listen-vfkit`; on Linux from 0.8.9 on) or vmnet-helper."""
    unixstream: HostPath | None = None
    """The stream socket on which a passt listens."""
    vfkit: bool = False
    """Whether the other end of `unixgram` waits for vfkit's first word, as gvproxy does."""

    _nested = {
        "gvproxy": ("one", Gvproxy),
        "passt": ("one", Passt),
    }


@dataclass(kw_only=True)
class OverlayDir(Data):
    """A directory of the overlay."""

    path: str
    """Where the guest sees it: absolute."""
    mode: int = 493
    """Its permissions, 0 to 4095 (decimal: 493 is 0755)."""


@dataclass(kw_only=True)
class OverlayFile(Data):
    """A file of the overlay: exactly one of `text` and `from`."""

    path: str
    """Where the guest sees it: absolute."""
    from_: HostPath | None = None
    """The host's file with its contents; read when the VM starts."""
    mode: int = 420
    """Its permissions, 0 to 4095 (decimal: 420 is 0644)."""
    text: Text | None = None
    """Its contents."""


@dataclass(kw_only=True)
class Overlay(Data):
    """Files and directories that only this guest sees, laid over a root directory (`krun_fs_add_overlay_*`). They cannot
    be listed or written to; they hide what the directory has under the same name.
    """

    dirs: list[OverlayDir] = field(default_factory=list)
    """Empty directories."""
    files: list[OverlayFile] = field(default_factory=list)
    """The files. Directories that a path needs are made; they may not be ones that the root has."""

    _nested = {
        "dirs": ("list", OverlayDir),
        "files": ("list", OverlayFile),
    }


@dataclass(kw_only=True)
class Port(Data):
    """A TCP port of the guest and its number on the host."""

    host: int
    """Its number on the host."""
    guest: int
    """Its number in the guest."""


@dataclass(kw_only=True)
class Rlimit(Data):
    """A resource limit of the workload."""

    soft: int
    """The limit, in the resource's own unit; 18446744073709551615 for none."""
    hard: int | None = None
    """What the workload may raise it to; as `soft` where absent."""


@dataclass(kw_only=True)
class RootDisk(Data):
    """A root on a disk."""

    device: str = "/dev/vda"
    """The block device in the guest: `/dev/vda` is the first of the spec's disks, `/dev/vda1` its first partition."""
    fstype: str | None = None
    """The file system's type; where absent, all that the guest's kernel knows are tried in turn."""
    options: str | None = None
    """Mount options, as `mount -o` takes them: printable ASCII without blanks and quotation marks."""


@dataclass(kw_only=True)
class Root(Data):
    """The guest's root file system: exactly one of a directory of the host, shared over virtio-fs, and a disk."""

    dax_mib: int = 0
    """Size of a directory's DAX window in MiB, a multiple of 2; 0 for none."""
    dir: HostPath | None = None
    """The directory."""
    disk: RootDisk | None = None
    """The file system on one of the spec's disks."""
    read_only: bool = False
    """Whether the guest may not write to it. For a directory enforced on the host's side; it must then have `dev`,
    `proc` and `sys`. A disk is mounted with `ro`, and only its own `read_only` keeps the guest from changing that.
    """

    _nested = {
        "disk": ("one", RootDisk),
    }


@dataclass(kw_only=True)
class Serial(Data):
    """A serial console."""

    output: HostPath
    """Where its output goes; a file is made where there is none, and added to."""
    input: HostPath | None = None
    """What is read into it: a FIFO, a terminal or a file that exists."""


@dataclass(kw_only=True)
class Tee(Data):
    """A confidential guest. libkrun must be built for them; the root is on the first disk, and its own configuration
    (`/.krun_config.json`) names the workload, because nothing of a command line reaches such a guest.
    """

    config: HostPath
    """The file with libkrun's configuration for it."""


@dataclass(kw_only=True)
class Tsi(Data):
    """libkrun's own network without a card: the guest's sockets are the host's. Needs libkrunfw's kernel."""

    inet: bool = True
    """The guest's IPv4 and IPv6 sockets; `false` needs `krun_add_vsock`."""
    only_ports: bool = False
    """Whether the guest's other ports stay closed on the host. Otherwise all on which it listens are open, under their
    own numbers. Only libkrun before 1.17.0 can close them; later ones are refused.
    """
    ports: list[Port] = field(default_factory=list)
    """TCP ports of the guest that are open on the host under a number of the caller's choice."""
    unix: bool = False
    """The guest's unix sockets; needs `krun_add_vsock`."""

    _nested = {
        "ports": ("list", Port),
    }


@dataclass(kw_only=True)
class VsockPort(Data):
    """A vsock port."""

    port: int
    """Its number."""
    path: HostPath
    """The unix socket of the host, in a directory that exists; at most 107 bytes."""
    listen: bool = False
    """`false`: the guest connects to the port, and somebody on the host listens on the socket by then. `true`: the
    guest listens on the port, and libkrun makes the socket, which may not exist and goes with the VM.
    """


@dataclass(kw_only=True)
class Vsock(Data):
    """Connections between the guest's vsock ports and unix sockets of the host. The guest's own address (CID) is always
    3, the host's 2.
    """

    cid: int | None = None
    """The guest's own address: 3, whatever is wished for. Another is refused, since libkrun has no function for it."""
    ports: list[VsockPort] = field(default_factory=list)
    """The ports."""

    _nested = {
        "ports": ("list", VsockPort),
    }


@dataclass(kw_only=True)
class VmSpec(_SpecBase):
    """A microVM as its user describes it. Relative paths of the host are taken from the current directory."""

    vcpus: int
    """Number of virtual CPUs, 1 to 255 and at most what this host's KVM takes."""
    memory_mib: int
    """Memory of the guest in MiB (2^20 bytes)."""
    console: Console = "inherit"
    """The console and the standard streams."""
    console_ports: list[ConsolePort] = field(default_factory=list)
    """Further console ports."""
    control: Control | None = None
    """The way into the running guest, for further commands, figures and the request to end; none where absent."""
    disks: list[Disk] = field(default_factory=list)
    """Disks."""
    displays: list[Display] = field(default_factory=list)
    """Its displays."""
    exec: Exec | None = None
    """The workload. Required unless there is `firmware` or `tee`, or `kernel.cmdline` boots an init of the guest's own:
    then how that ended stays unknown, and it mounts the shares itself, by their tags.
    """
    firmware: HostPath | None = None
    """A firmware file to boot instead of a kernel. What it boots from a disk is its own matter: krundl's program does
    not run there, so there is no root, workload or mount, and whether it is up is unknown.
    """
    gid: int | None = None
    """The group that the VM's process becomes; needs root."""
    gpu: Gpu | None = None
    """A graphics card."""
    inputs: list[HostPath] = field(default_factory=list)
    """Input devices of the host (`/dev/input/event*`) that the guest has. libkrun must be built with input."""
    kernel: Kernel | None = None
    """A kernel of the user's own; without it libkrunfw's is used."""
    kernel_console: KernelConsole | None = None
    """The console of the guest's kernel; the one of its command line where absent."""
    log_file: HostPath | None = None
    """The file that libkrun's log is added to, unless the caller of `launch` names another target."""
    log_level: LogLevel = "warn"
    """What libkrun logs. Errors are always captured, also with `off`, because they are the only explanation of a
    failed start.
    """
    mounts: list[Mount] = field(default_factory=list)
    """Directories of the host that the guest sees."""
    nested_virt: bool = False
    """Whether the guest may run virtual machines itself; x86-64 only."""
    nics: list[Nic] = field(default_factory=list)
    """Network cards."""
    overlay: Overlay = field(default_factory=Overlay)
    """Files and directories laid over a root directory."""
    rlimits: dict[str, Rlimit] = field(default_factory=dict)
    """Resource limits of the workload by the names of Linux's resources without `RLIMIT_`: `NOFILE`, `NPROC` ..."""
    root: Root | None = None
    """The guest's root file system. Required unless there is `firmware` or `tee`, which bring their own, or
    `kernel.cmdline` boots an init of the guest's own.
    """
    serial: Serial | None = None
    """A serial console besides."""
    smbios_oem_strings: list[str] = field(default_factory=list)
    """OEM strings in the guest's SMBIOS tables; aarch64 only."""
    sound: bool = False
    """Whether there is a sound card. libkrun must be built with snd."""
    split_irqchip: bool = False
    """Whether the interrupt controller is split between KVM and the process; x86-64 only."""
    tee: Tee | None = None
    """A confidential guest."""
    tsi: Tsi | None = None
    """libkrun's network without a card. Where absent: on with libkrunfw's kernel and no card, else off."""
    uid: int | None = None
    """The user that the VM's process becomes; needs root. Its supplementary groups are dropped."""
    vsock: Vsock = field(default_factory=Vsock)
    """vsock ports."""

    _nested = {
        "console": ("one", ConsoleFile),
        "console_ports": ("list", ConsolePort),
        "control": ("one", ControlSocket),
        "disks": ("list", Disk),
        "displays": ("list", Display),
        "exec": ("one", Exec),
        "gpu": ("one", Gpu),
        "kernel": ("one", Kernel),
        "mounts": ("list", Mount),
        "nics": ("list", Nic),
        "overlay": ("one", Overlay),
        "rlimits": ("dict", Rlimit),
        "root": ("one", Root),
        "serial": ("one", Serial),
        "tee": ("one", Tee),
        "tsi": ("one", Tsi),
        "vsock": ("one", Vsock),
    }
