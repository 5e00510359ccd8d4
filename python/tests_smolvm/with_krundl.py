"""A plugin of pytest for SmolVM's own tests: `-p with_krundl` has krundl behind SmolVM's libkrun backend all the while."""

import krundl.smolvm

krundl.smolvm.install()
