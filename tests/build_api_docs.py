"""Builds the API reference with pdoc: `python -W error tests/build_api_docs.py FOLDER`. Any warning is an error."""

import runpy
import sys
from importlib import import_module
from typing import get_type_hints

from public_api import MODULES, names
from stand_ins import stand_ins

if __name__ == "__main__":
    with stand_ins():
        for module in map(import_module, MODULES):
            for name in names(module):
                found = getattr(module, name)  # pdoc sees a lazy name only after its first use
                if hasattr(found, "_fields"):  # pdoc cannot resolve the postponed annotations of a NamedTuple
                    found.__new__.__annotations__ = get_type_hints(found)
        sys.argv = ["pdoc", "--output-directory", sys.argv[1], *MODULES, "convtree.adapters", r"!convtree\.adapters\._"]
        runpy.run_module("pdoc", run_name="__main__")
