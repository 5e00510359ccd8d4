"""Prints the path of the kernel."""

from . import kernel

print(kernel())
