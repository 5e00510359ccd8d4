"""Makes what SmolVM would otherwise download or build with Docker: an image with its own init, a shell and an SSH server.

    python image.py BUSYBOX_ROOT DROPBEAR KERNEL CACHE

CACHE becomes SmolVM's directory of images, as its own builder leaves it: SmolVM's recipe runs up to the point where it
calls Docker and downloads its kernel, and that step alone is replaced. What boots is SmolVM's own /init.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# What SmolVM's /init starts. Not its log on the console: SmolVM gives a server half a second for its first word, and where
# the processor is emulated every byte on a serial line takes its part of that.
SSHD = """#!/bin/sh
exec {dropbear} -s -r /etc/dropbear/host_key
"""


def main(busybox_root: Path, dropbear: Path, kernel: Path, cache: Path) -> None:
    from smolvm.facade import _build_auto_config_image_name
    from smolvm.images.builder import ImageBuilder
    from smolvm.images.published import BASE_KERNELS
    from smolvm.runtime.boot_profiles import KernelBootProfile, to_published_arch
    from smolvm.types import GuestOS

    class Builder(ImageBuilder):  # type: ignore[misc]
        """SmolVM's, with what is on this machine instead of Docker and the download."""

        def check_docker(self) -> bool:
            return True

        def _do_build(
            self,
            name: str,
            dockerfile_content: str,
            init_script: str,
            image_dir: Path,
            kernel_path: Path,
            rootfs_path: Path,
            rootfs_size_mb: int,
            **rest: Any,
        ) -> None:
            shutil.copyfile(kernel, kernel_path)
            image(busybox_root, dropbear, init_script, rootfs_path, rootfs_size_mb)
            self._write_fingerprint(image_dir, rest["fingerprint_data"])

    shutil.rmtree(cache, ignore_errors=True)
    name = _build_auto_config_image_name(GuestOS.ALPINE, backend="libkrun", disk_size_mib=512)
    url = BASE_KERNELS[to_published_arch(os.uname().machine)].url_for("elf")
    # The key comes with each VM; what is given here is in no image.
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtydW5kbAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA nobody"
    made = Builder(cache_dir=cache).build_alpine_ssh_key(
        key, name=name, rootfs_size_mb=512, kernel_profile=KernelBootProfile.MICROVM_DIRECT, kernel_url=url
    )
    print(*made, sep="\n")


def image(busybox_root: Path, dropbear: Path, init: str, target: Path, size_mib: int) -> None:
    """An ext4 file system with busybox, dropbear and that init."""
    with tempfile.TemporaryDirectory(dir=target.parent) as place:
        root = Path(place)
        shutil.copytree(busybox_root, root, symlinks=True, dirs_exist_ok=True)
        for library in [dropbear, *libraries(dropbear)]:
            copy = root / library.relative_to("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, copy)
        write(root / "init", init, 0o755)
        write(root / "usr/sbin/sshd", SSHD.format(dropbear=dropbear), 0o755)
        write(root / "etc/passwd", "root:*:0:0:root:/root:/bin/sh\n", 0o644)
        write(root / "etc/group", "root:x:0:\n", 0o644)
        write(root / "etc/shells", "/bin/sh\n", 0o644)
        (root / "etc/dropbear").mkdir()
        key = os.fspath(root / "etc/dropbear/host_key")
        subprocess.run(["dropbearkey", "-t", "ed25519", "-f", key], check=True, capture_output=True)
        root.chmod(0o755)
        (root / "root").chmod(0o700)
        made_of = ["-E", "root_owner=0:0", "-d", os.fspath(root)]
        subprocess.run(["mkfs.ext4", "-q", "-F", *made_of, os.fspath(target), f"{size_mib}M"], check=True)


def libraries(program: Path) -> list[Path]:
    """All that a program is linked with, its loader included."""
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return [Path(path) for path in re.findall(r"(?:=> |^\t)(/\S+) \(", listed, re.MULTILINE)]


def write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:5]))
