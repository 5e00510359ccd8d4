# Written by `cargo xtask generate` from the Rust types. Do not edit.
"""What was found out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional

from ._data import (
    Data,
    _DoctorBase,
    _InspectedBase,
    _LibraryBase,
    _PartBase,
    _ProbeBase,
    _ProblemBase,
)

__all__ = [
    "Attempt",
    "AttemptError",
    "AttemptKind",
    "By",
    "Check",
    "Comparison",
    "ConfigSource",
    "DoctorReport",
    "Doubt",
    "Evidence",
    "EvidenceKind",
    "FeatureState",
    "FileFormat",
    "Firmware",
    "FirmwareKernel",
    "Flavour",
    "Gain",
    "Generation",
    "HostMount",
    "Identity",
    "Inspected",
    "KernelFormat",
    "KernelReport",
    "Known",
    "Kvm",
    "Levels",
    "LibraryReport",
    "MountReport",
    "Needs",
    "Origin",
    "Other",
    "Part",
    "ProbeReport",
    "Problem",
    "ProblemKind",
    "Proof",
    "Status",
    "Support",
    "VersionReport",
]


Origin = Literal[
    "explicit",
    "env_library",
    "directory",
    "env_directory",
    "loader",
    "well_known",
    "bundled",
]
"""Where the idea to try a candidate came from."""


AttemptKind = Literal[
    "missing",
    "unreadable",
    "not_a_library",
    "wrong_architecture",
    "missing_dependency",
    "not_libkrun",
    "crashed",
    "refused",
]
"""Why a candidate was not it."""


By = Literal[
    "opened",
    "symbol",
    "feature_bit",
    "file_name",
    "pkg_config",
    "fingerprint",
    "file",
    "asked",
    "observed",
    "boot",
]


Status = Literal[
    "pass",
    "warn",
    "fail",
    "skip",
    "crash",
]


EvidenceKind = Literal[
    "function_present",
    "function_absent",
    "feature_id",
    "file_name",
    "pkg_config",
]
"""What kind of witness."""


FeatureState = Literal[
    "yes",
    "no",
    "unknown",
    "unasked",
]


FileFormat = Literal[
    "elf",
    "mach_o",
]


Flavour = Literal[
    "plain",
    "sev",
    "tdx",
    "aws_nitro",
    "efi",
]


Generation = Literal[
    "one",
    "unknown",
]
"""An API generation: the language that a library's functions speak. Each has its own negotiation
(`crate::plan::negotiate`) and its own caller in the child; spec and launch are the same for all.
"""


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


ProblemKind = Literal[
    "invalid",
    "host",
    "unsupported",
    "not_offered",
]
"""Whose fault a problem is."""


Support = Literal[
    "yes",
    "absent",
    "refuses",
    "no_effect",
    "unknown",
]
"""Whether a function does what its name says."""



@dataclass(frozen=True, kw_only=True)
class AttemptError(Data):
    """Why a candidate was not it, with the words of whoever said so."""

    kind: AttemptKind
    """The kind of failure."""
    message: str
    """The loader's own message, or what was found in the file."""


@dataclass(frozen=True, kw_only=True)
class Attempt(Data):
    """One candidate and what became of it."""

    candidate: str
    """A path, or a bare soname for the system's loader."""
    origin: Origin
    """Why it was tried."""
    error: AttemptError | None
    """None for the one that was chosen."""

    _nested = {
        "error": ("one", AttemptError),
    }


@dataclass(frozen=True, kw_only=True)
class Known(Data):
    """One thing that a check rests on."""

    by: By
    """How it is known."""
    says: str
    """What is known."""


@dataclass(frozen=True, kw_only=True)
class Check(Data):
    """One check."""

    id: str
    """Its name, stable across releases."""
    subject: str | None
    """What it is about, where a check is made for several things."""
    status: Status
    """How it came out."""
    summary: str
    """In one line."""
    detail: str | None
    """More about it, in lines."""
    evidence: list[Known]
    """What it rests on."""
    fix: str | None
    """What would mend it: in words, and below that the commands, a line each."""
    commands: list[str]
    """The commands of the remedy alone."""

    _nested = {
        "evidence": ("list", Known),
    }


@dataclass(frozen=True, kw_only=True)
class Gain(Data):
    """A function that would be there."""

    function: str
    """The function."""
    since: str
    """Its first release."""
    built_with: str | None
    """What the release has to be built with or for."""
    meaning: str
    """What it does."""


@dataclass(frozen=True, kw_only=True)
class Comparison(Data):
    """What a release has and a library has not."""

    release: str
    """The release."""
    brings: list[str]
    """What it would bring, in words: `read-only mounts` for example."""
    gains: list[Gain]
    """Functions that it has and the library has not."""
    losses: list[str]
    """Functions that the library has and the release has not."""

    _nested = {
        "gains": ("list", Gain),
    }


@dataclass(frozen=True, kw_only=True)
class ConfigSource(Data):
    """Where a configuration comes from."""



@dataclass(frozen=True, kw_only=True)
class Doubt(Data):
    """Functions that are there and prove nothing."""

    group: str
    """The functions' group."""
    why: str
    """What cannot be relied on, and why."""


@dataclass(frozen=True, kw_only=True)
class Evidence(Data):
    """One witness."""

    kind: EvidenceKind
    """What kind of witness."""
    says: str
    """The releases that fit it."""
    because: str
    """Why."""


@dataclass(frozen=True, kw_only=True)
class FirmwareKernel(Data):
    """The kernel in a libkrunfw. The guest's memory has to reach beyond `load_address + size`."""

    load_address: int
    """Where it goes in the guest's memory."""
    size: int
    """Its size in bytes."""
    release: str | None
    """Its release, `6.12.87` for example, from its own banner; None if it has none or was not looked for."""


@dataclass(frozen=True, kw_only=True)
class Firmware(Data):
    """The libkrunfw of a libkrun."""

    wanted: str | None
    """Its soname; None if it is not known which one libkrun asks for."""
    evidence: str
    """How that is known."""
    linked: bool
    """Whether libkrun is linked with it instead of opening it when a context is made."""
    path: str | None
    """Its file. None if none was found; then `Firmware::ask` says whether the loader finds one."""
    preload: bool
    """Whether `path` is to be loaded before libkrun asks for it, by `Firmware::preload`."""
    attempts: list[Attempt]
    """Where it was looked for; the last one without an error is `path`."""
    abi: int | None
    """The number of its interface, as it answers itself; None if it was not asked."""
    kernel: FirmwareKernel | None
    """The guest's kernel, as it answers itself; None if it was not asked, or has none."""
    file_version: str | None
    """Its release, from the name of its real file: `5.4.0`; None if the file is named otherwise."""

    _nested = {
        "attempts": ("list", Attempt),
        "kernel": ("one", FirmwareKernel),
    }


@dataclass(frozen=True, kw_only=True)
class HostMount(Data):
    """A file system of the host."""

    point: str
    """Where it is mounted."""
    kind: str
    """Its type."""
    read_only: bool
    """Whether it is mounted read-only."""
    idmapped: bool
    """Whether its owners are translated (an idmapped mount)."""


@dataclass(frozen=True, kw_only=True)
class Identity(Data):
    """What makes a file the one that it is."""

    dev: int
    """Device."""
    ino: int
    """Inode."""
    size: int
    """Size in bytes."""
    modified_ns: int
    """Time of the last change of its bytes, in nanoseconds since 1970."""
    build_id: str | None
    """The mark that the linker left in it, in hexadecimal (GNU build id, Mach-O UUID); not every linker does."""


@dataclass(frozen=True, kw_only=True)
class VersionReport(Data):
    """Which release it is."""

    range: str
    """A semver requirement that the release fulfils."""
    evidence: list[Evidence]
    """What bears witness."""
    conflicts: list[str]
    """What contradicts what."""

    _nested = {
        "evidence": ("list", Evidence),
    }


@dataclass(frozen=True, kw_only=True, repr=False)
class Part(_PartBase):
    """One architecture's part of a file."""

    architecture: str
    """The architecture."""
    format: FileFormat
    """The kind of file."""
    soname: str | None
    """The name that it gives itself."""
    flavour: Flavour | None
    """The variant, by its names. None if it is no libkrun, here and in what follows from its functions."""
    version: VersionReport | None
    """Which release it is, as far as its functions and names tell."""
    features: dict[str, bool]
    """What its functions prove that it was built with, or without; other features only it can tell, when it is opened."""
    needed: list[str]
    """The libraries that it is linked with."""
    run_paths: list[str]
    """Where it has them looked for."""
    build_id: str | None
    """The linker's mark."""
    functions: dict[str, bool] | None
    """Every function of libkrun's: whether it exports it. None if its exports cannot be told."""
    unknown_functions: list[str]
    """Functions named krun_ that the table does not know."""
    exports: int | None
    """How many functions it exports in all."""
    firmware: list[str]
    """The libkrunfw that it mentions."""

    _nested = {
        "version": ("one", VersionReport),
    }


@dataclass(frozen=True, kw_only=True, repr=False)
class Inspected(_InspectedBase):
    """What a file says about itself."""

    path: str
    """The file, as it was named."""
    real_path: str | None
    """The same without links."""
    parts: list[Part]
    """One for each architecture in it."""
    error: AttemptError | None
    """Why it cannot be read."""

    _nested = {
        "parts": ("list", Part),
        "error": ("one", AttemptError),
    }


@dataclass(frozen=True, kw_only=True)
class Needs(Data):
    """What a libkrun has to have."""

    function: str
    """The function."""
    since: str
    """The first release that has it."""
    built_with: str | None = None
    """The compile-time feature that it takes, where it takes one."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Problem(_ProblemBase):
    """One thing that stands between a spec and a VM."""

    field: str
    """The field of the spec, as `mounts[0].guest`."""
    kind: ProblemKind
    """Whose fault it is."""
    reason: str
    """Why, in a sentence."""
    fix: str | None = None
    """What would mend it."""
    needs: Needs | None = None
    """The function that is missing, where one is."""

    _nested = {
        "needs": ("one", Needs),
    }


@dataclass(frozen=True, kw_only=True)
class KernelReport(Data):
    """What was found out about a kernel."""

    path: str
    """The file."""
    format: KernelFormat | None
    """Its format; None if it is none that libkrun takes here."""
    problems: list[Problem]
    """What stands in the way of it."""
    release: str | None
    """Its release, from its own banner, where that can be read."""
    config_from: ConfigSource | None
    """Where its configuration comes from; None if it is unknown."""
    config_unknown: str | None
    """Why it is unknown."""
    options: dict[str, str]
    """The options that matter: `y`, `m` or `n`. Empty if the configuration is unknown."""

    _nested = {
        "problems": ("list", Problem),
        "config_from": ("one", ConfigSource),
    }


@dataclass(frozen=True, kw_only=True)
class Kvm(Data):
    """What /dev/kvm answers."""

    exists: bool
    """Whether the device exists."""
    accessible: bool
    """Whether this process can open it for reading and writing."""
    error: str | None
    """Why not, in the system's words."""
    api_version: int | None
    """The API version; 12 is the only one that counts."""
    creates_vm: bool | None
    """Whether it creates an (empty) VM."""
    max_vcpus: int | None
    """The most vCPUs that a VM can have."""
    modules: list[str]
    """The kernel modules that may stand behind it, of those loaded or built in (`kvm_intel`, `kvm_amd`, others
    named `kvm_*`). A module other than those two usually runs no ordinary guests.
    """


@dataclass(frozen=True, kw_only=True)
class Levels(Data):
    """How far each group goes; 0 is not at all. Each level includes those below it in libkrun's releases, but not
    necessarily in a fork: what is called is always looked up by function.
    """

    virtiofs: int
    """1: shares. 2: with a DAX window. 3: read-only, enforced on the host's side. 4: with a choice of ownership
    semantics.
    """
    disk: int
    """1: raw disks. 2: qcow2 and vmdk. 3: direct I/O and sync modes."""
    net: int
    """1: one legacy device (passt or gvproxy). 2: several devices over sockets and taps."""
    vsock: int
    """1: ports from guest to host. 2: ports from host to guest. 3: an explicit device."""
    console: int
    """1: output to a file. 2: an explicit console. 3: consoles with several named ports."""
    kernel: int
    """1: a kernel of the user's own. 2: firmware as well."""
    overlay: int
    """1: files and directories laid over a share."""


@dataclass(frozen=True, kw_only=True, repr=False)
class LibraryReport(_LibraryBase):
    """The library that was chosen."""

    path: str
    """As it was found."""
    real_path: str
    """The same without links."""
    origin: Origin
    """Why it was tried."""
    identity: Identity
    """Which file it is."""
    soname: str | None
    """The name that it gives itself."""
    flavour: Flavour
    """The variant."""
    flavour_reason: str
    """How that is known."""
    needed: list[str]
    """The libraries that it is linked with."""
    generation: Generation
    """The language of its functions."""
    generation_reason: str
    """How that was told."""
    version: VersionReport
    """Which release it is, as far as that can be told."""
    functions: dict[str, bool]
    """Every function of the table: whether it is there."""
    support: dict[str, Support]
    """Every function that is there: whether it does what its name says."""
    features: dict[str, FeatureState]
    """What it says of each feature."""
    unknown_functions: list[str]
    """Functions that the table does not know."""

    _nested = {
        "identity": ("one", Identity),
        "version": ("one", VersionReport),
    }


@dataclass(frozen=True, kw_only=True)
class MountReport(Data):
    """What was found out about a mount."""

    host: str
    """The host's directory, as it was given."""
    guest: str
    """Where the guest would see it."""
    read_only: bool
    """Whether it was asked to be read-only."""
    function: str | None
    """The function that would make it; None if it cannot be made, or there is no libkrun."""
    problems: list[Problem]
    """What stands in the way."""
    on_host: HostMount | None
    """How the directory is mounted on the host; None if that cannot be told."""
    below: list[str]
    """Further file systems mounted below the directory, which the guest sees too."""

    _nested = {
        "problems": ("list", Problem),
        "on_host": ("one", HostMount),
    }


@dataclass(frozen=True, kw_only=True)
class Other(Data):
    """A file that bears libkrun's name and is not the one in use."""

    path: str
    """Its path, as it was found."""
    real_path: str
    """The same without links."""
    origin: Origin
    """Why it would be tried."""
    soname: str | None
    """The name that it gives itself."""
    functions: int | None
    """How many of libkrun's functions its file exports; None if that cannot be told."""
    architecture: str | None
    """The architecture that it is for."""
    error: AttemptError | None
    """Why it could not be used."""

    _nested = {
        "error": ("one", AttemptError),
    }


@dataclass(frozen=True, kw_only=True, repr=False)
class ProbeReport(_ProbeBase):
    """What a probe found, as plain data: the part of a `Report` that is about libkrun alone."""

    schema_version: int
    """Grows when a name changes its meaning or goes."""
    krundl_version: str
    """krundl's own version."""
    library: LibraryReport
    """The library that was chosen."""
    levels: Levels
    """How far each group of its functions goes."""
    can_mount: bool
    """Whether it shares directories of the host."""
    can_mount_read_only: bool
    """Whether it shares them read-only, enforced on the host's side."""
    doubts: list[Doubt]
    """Functions of it that are there and prove nothing."""
    firmware: Firmware
    """The libkrunfw that it asks for."""
    attempts: list[Attempt]
    """Every candidate, in the order in which they were tried; the chosen one has no error."""
    words: str
    """What libraries printed when they were opened."""
    died: str | None
    """How the process that opened it ended, if not well."""

    _nested = {
        "library": ("one", LibraryReport),
        "levels": ("one", Levels),
        "doubts": ("list", Doubt),
        "firmware": ("one", Firmware),
        "attempts": ("list", Attempt),
    }


@dataclass(frozen=True, kw_only=True)
class Proof(Data):
    """What a boot has shown. None: not tried, or not come to."""

    boot_ms: int | None
    """From the start of its process to the guest's first word, in milliseconds."""
    error: str | None
    """Why it did not come up, or did not come to its end."""
    vsock: bool | None
    """Whether the guest spoke over vsock."""
    read: bool | None
    """Whether it read the nonce through a mount."""
    write: bool | None
    """Whether it wrote it back through another."""
    read_only: bool | None
    """Whether a write through a read-only mount was refused."""
    words: str
    """What the guest's program said."""


@dataclass(frozen=True, kw_only=True, repr=False)
class DoctorReport(_DoctorBase):
    """Everything that the doctor found."""

    schema_version: int
    """Grows when a name changes its meaning or goes."""
    krundl_version: str
    """krundl's own version."""
    helper: str | None
    """krundl-vmm, the program that opens libkrun."""
    library: LibraryReport | None
    """The library that was chosen."""
    levels: Levels | None
    """How far each group of its functions goes."""
    doubts: list[Doubt]
    """Functions of it that are there and prove nothing."""
    attempts: list[Attempt]
    """Every candidate, in the order in which they were tried; the chosen one has no error."""
    others: list[Other]
    """Files of that name beside the chosen one: it shadows them."""
    compare: Comparison | None
    """What another release would add."""
    firmware: Firmware | None
    """The libkrunfw that it asks for."""
    kvm: Kvm
    """This machine's KVM."""
    mounts: list[MountReport]
    """The mounts that were asked about."""
    kernel: KernelReport | None
    """The kernel that was asked about."""
    proof: Proof | None
    """What a real guest has shown."""
    checks: list[Check]
    """What was judged."""

    _nested = {
        "library": ("one", LibraryReport),
        "levels": ("one", Levels),
        "doubts": ("list", Doubt),
        "attempts": ("list", Attempt),
        "others": ("list", Other),
        "compare": ("one", Comparison),
        "firmware": ("one", Firmware),
        "kvm": ("one", Kvm),
        "mounts": ("list", MountReport),
        "kernel": ("one", KernelReport),
        "proof": ("one", Proof),
        "checks": ("list", Check),
    }
