"""What launchers do today: find libkrun with ctypes, and see what it has. Usage: probe.py FUNCTION..."""

import ctypes
import ctypes.util
import sys

name = ctypes.util.find_library("krun")
if name is None:
    sys.exit("find_library finds no libkrun")
library = ctypes.CDLL(name)
there = [function for function in sys.argv[1:] if hasattr(library, function)]
features = {}
if "krun_has_feature" in there:
    for number in range(12):
        features[number] = library.krun_has_feature(number)
print(len(there), features)
