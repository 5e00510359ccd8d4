"""A guest with a mount on a machine with neither libkrun nor libkrunfw, by what pip installed: `guest.py ROOT SHARED`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import krundl

root, shared = sys.argv[1:]
print(krundl.doctor())

probe = krundl.probe(timeout=60)
chosen = probe.attempts[-1]
assert chosen.origin == "bundled" and chosen.candidate.startswith(sys.prefix), chosen
assert probe.firmware is None or probe.firmware.path is None, "this machine has a libkrunfw"

script = "cp /workspace/from-the-host /workspace/by-python && uname -r"
spec = krundl.VmSpec(
    vcpus=1,
    memory_mib=256,
    root=krundl.Root(dir=root),
    mounts=[krundl.Mount(host=shared, guest="/workspace")],
    kernel=krundl.bundled_kernel(),
    exec=krundl.Exec(path="/bin/sh", args=["-c", script]),
)
with krundl.launch(spec, probe=probe, stdin=krundl.DEVNULL, stdout=krundl.PIPE, start_timeout=120) as vm:
    output, _ = vm.communicate(timeout=120)
    assert vm.returncode == 0, (vm.exit, vm.log)
print("the guest's kernel:", output.decode().strip())

# The command that pip installed beside it finds the same library.
kernel = subprocess.run([sys.executable, "-m", "krundl_kernel"], stdout=subprocess.PIPE, text=True, check=True)
command = [Path(sys.executable).with_name("krundl"), "run", "--kernel", kernel.stdout.strip()]
command += ["--mount", f"{shared}:/workspace", root, "--", "cp", "/workspace/from-the-host", "/workspace/by-command"]
subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=240)

for name in ("by-python", "by-command"):
    assert Path(shared, name).read_text() == "written on the host\n", name
