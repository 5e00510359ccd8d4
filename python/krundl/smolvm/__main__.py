"""`python -m krundl.smolvm ARGS...`: the command `smolvm`, with krundl behind its libkrun backend."""

from __future__ import annotations

import sys
from importlib import import_module

# By its full name: SmolVM starts this file anew, by its path, when it joins the group of /dev/kvm.
from krundl.smolvm import UnknownSmolVM, install


def main() -> int:
    arguments = sys.argv[1:]
    any_version = arguments[:1] == ["--any-version"]
    try:
        install(any_version=any_version)
    except UnknownSmolVM as error:
        print(f"krundl.smolvm: {error}", file=sys.stderr)
        return 1
    status: int = import_module("smolvm.cli.main").main(arguments[1:] if any_version else None)
    return status


if __name__ == "__main__":
    sys.exit(main())
