"""`Vm.communicate`: all pipes and the VM itself, in one loop, without threads."""

from __future__ import annotations

import os
import selectors
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._vm import Vm

_CHUNK = 64 * 1024


class Talk:
    """What was said so far, between calls."""

    def __init__(self, vm: Vm, text: bytes | None) -> None:
        self.left = memoryview(text or b"")
        self.heard: dict[str, bytearray] = {
            name: bytearray() for name in ("stdout", "stderr") if getattr(vm, name) is not None
        }


def communicate(vm: Vm, text: bytes | None, timeout: float | None) -> tuple[bytes | None, bytes | None]:
    deadline = None if timeout is None else time.monotonic() + timeout
    talk: Talk | None = vars(vm).get("_talk")
    if talk is None:
        talk = Talk(vm, text)
        vars(vm)["_talk"] = talk
    elif text:
        raise ValueError("the input was given with the first call")
    if vm.stdin is not None and not talk.left:
        _close(vm.stdin)
    while _step(vm, talk, deadline):
        pass
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    if _open(vm):
        raise vm._raw.timed_out("ended", timeout or 0.0)
    vm.wait(left)
    found = [bytes(talk.heard[name]) if name in talk.heard else None for name in ("stdout", "stderr")]
    return found[0], found[1]


def _open(vm: Vm) -> bool:
    return any(pipe is not None and not pipe.closed for pipe in (vm.stdout, vm.stderr))


def _step(vm: Vm, talk: Talk, deadline: float | None) -> bool:
    """Waits once; whether there is more to do."""
    left = None if deadline is None else deadline - time.monotonic()
    if not _open(vm) or (left is not None and left <= 0):
        return False
    watcher = vm._raw.watch()
    descriptors = watcher.descriptors()
    try:
        with selectors.DefaultSelector() as selector:
            if not vm._raw.has_ended():
                for descriptor in descriptors:
                    selector.register(descriptor, selectors.EVENT_READ)
            for pipe in (vm.stdout, vm.stderr):
                if pipe is not None and not pipe.closed:
                    selector.register(pipe, selectors.EVENT_READ)
            if vm.stdin is not None and not vm.stdin.closed:
                selector.register(vm.stdin, selectors.EVENT_WRITE)
            ready = [key.fileobj for key, _ in selector.select(left)]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    for name, heard in talk.heard.items():
        pipe = getattr(vm, name)
        if pipe in ready:
            chunk = os.read(pipe.fileno(), _CHUNK)
            heard += chunk
            if not chunk:
                pipe.close()
    if vm.stdin in ready and vm.stdin is not None:
        _write(vm, talk)
    return True


def _write(vm: Vm, talk: Talk) -> None:
    assert vm.stdin is not None
    try:
        # No more than a pipe is sure to take without blocking when it says that it is ready.
        talk.left = talk.left[os.write(vm.stdin.fileno(), talk.left[: select_bytes()]) :]
    except BrokenPipeError:
        talk.left = talk.left[:0]
    if not talk.left:
        _close(vm.stdin)


def select_bytes() -> int:
    """What a pipe takes at once when it is ready to be written to."""
    import select

    return getattr(select, "PIPE_BUF", 512)


def _close(stdin: object) -> None:
    try:
        stdin.close()  # type: ignore[attr-defined]
    except BrokenPipeError:
        pass
