"""What krundl costs in Python: writes a line for each pair, what it is compared with and krundl.

`measure.py import COUNT`                             nanoseconds of processor, of a whole process and of the import alone
`measure.py probe COUNT C LIBRARY`                    nanoseconds, of a C program that opens and looks up, and of probe()
`measure.py launch COUNT SMOLVM LIBRARY ROOT`         nanoseconds of processor and KiB, of SmolVM's child and of krundl's
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time

# What a process itself has used: since it was executed, other than what the kernel counts for its parent.
USED = """
import time
begin = time.process_time_ns()
import {module}
alone = time.process_time_ns() - begin
print(open("/proc/self/schedstat").read().split()[0], alone, flush=True)
"""

LAUNCHER = """
import {module}
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(open("/proc/self/schedstat").read().split()[0], peak, flush=True)
"""


def child(python: str, script: str) -> list[int]:
    command = [python, "-c", script]
    return [int(word) for word in subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.split()]


def imports() -> None:
    theirs, ours = (child(sys.executable, USED.format(module=module)) for module in ("ctypes", "krundl"))
    print(theirs[0], ours[0], theirs[1], ours[1], flush=True)


def probes(program: str, library: str) -> None:
    import krundl

    begin = time.perf_counter_ns()
    null = os.open(os.devnull, os.O_WRONLY)
    pid = os.posix_spawn(program, [program, library], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)])
    os.waitpid(pid, 0)
    os.close(null)
    middle = time.perf_counter_ns()
    krundl.probe(library)
    print(middle - begin, time.perf_counter_ns() - middle, flush=True)


def launches(smolvm: str, library: str, root: str) -> None:
    import krundl

    theirs = child(smolvm, LAUNCHER.format(module="smolvm.runtime._libkrun_ffi"))
    spec = krundl.VmSpec(vcpus=1, memory_mib=512, root=krundl.Root(dir=root), exec=krundl.Exec(path="/bin/sh"))
    nowhere = krundl.DEVNULL
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with krundl.launch(spec, library=library, stdin=nowhere, stdout=nowhere, stderr=nowhere) as vm:
        vm.wait_ready()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # The child that probed has ended, the one with the VM has not.
        used = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e9
        with open(f"/proc/{vm.pid}/schedstat") as file:
            used += int(file.read().split()[0])
        with open(f"/proc/{vm.pid}/status") as file:
            peak = next(line for line in file if line.startswith("VmHWM")).split()[1]
    print(theirs[0], int(used), theirs[1], peak, flush=True)


def main() -> None:
    what, count, *arguments = sys.argv[1:]
    measure = {"import": imports, "probe": probes, "launch": launches}[what]
    for number in range(int(count) + 1):
        if number == 0:
            # Once unmeasured, so that the files are in memory.
            sys.stdout, real = open(os.devnull, "w"), sys.stdout  # noqa: SIM115
            measure(*arguments)
            sys.stdout.close()
            sys.stdout = real
        else:
            measure(*arguments)


if __name__ == "__main__":
    main()
