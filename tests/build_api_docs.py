"""Builds the API reference with pdoc: `python -W error tests/build_api_docs.py FOLDER`. Any warning is an error."""

import runpy
import sys
from importlib import import_module

from public_api import MODULES, names

if __name__ == "__main__":
    for module in map(import_module, MODULES):
        for name in names(module):
            getattr(module, name)  # pdoc sees a lazy name only after its first use
    sys.argv = ["pdoc", "--output-directory", sys.argv[1], *MODULES]
    runpy.run_module("pdoc", run_name="__main__")
