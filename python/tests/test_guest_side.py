"""For guests that mount by themselves."""

from __future__ import annotations

import krundl
import pytest


def test_a_writable_mount_is_the_share_itself() -> None:
    mount = krundl.Mount(host="/src", guest="/my work", tag="src")
    assert krundl.mount_commands(mount) == [
        "mkdir -p -- '/my work'",
        "mount -t virtiofs -o rw -- src '/my work'",
    ]
    assert krundl.mount_commands(mount.as_dict()) == krundl.mount_commands(mount)


def test_a_read_only_mount_is_smolvms_overlay_unless_it_is_told_otherwise() -> None:
    mount = krundl.Mount(host="/src", tag="ws0", read_only=True)
    assert krundl.mount_commands(mount) == [
        "mkdir -p -- /mnt/.smolvm-ws-ws0 /tmp/.smolvm-ws-ws0-upper /tmp/.smolvm-ws-ws0-work /workspace",
        "mount -t virtiofs -o ro -- ws0 /mnt/.smolvm-ws-ws0",
        "mount -t overlay -o lowerdir=/mnt/.smolvm-ws-ws0,upperdir=/tmp/.smolvm-ws-ws0-upper,"
        "workdir=/tmp/.smolvm-ws-ws0-work -- overlay /workspace",
    ]
    assert krundl.mount_commands(mount, overlay=True) == krundl.mount_commands(mount)
    assert krundl.mount_commands(mount, overlay=False)[1] == "mount -t virtiofs -o ro -- ws0 /workspace"
    elsewhere = krundl.mount_commands(mount, overlay={"lower": "/l/{tag}", "upper": "/u", "work": "/w"})
    assert elsewhere[0] == "mkdir -p -- /l/ws0 /u /w /workspace"


def test_what_cannot_be_right_is_refused() -> None:
    with pytest.raises(krundl.InvalidSpec) as caught:
        krundl.mount_commands(krundl.Mount(host="/src"))
    assert caught.value.problems[0].field == "tag"
    with pytest.raises(ValueError, match="lower, upper and work"):
        krundl.mount_commands(krundl.Mount(host="/src", tag="t"), overlay={"middle": "/m"})


def test_the_file_systems_that_a_kernel_lacks() -> None:
    assert krundl.missing_filesystems("nodev\tsysfs\n\tvirtiofs\n") == ["overlay"]
    with open("/proc/filesystems") as file:
        assert set(krundl.missing_filesystems(file.read())) <= {"virtiofs", "overlay"}
