"""Prints the path of the library."""

from . import library

print(library())
