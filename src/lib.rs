//! krundl opens libkrun at run time, tells what it can do, and runs microVMs with it.
