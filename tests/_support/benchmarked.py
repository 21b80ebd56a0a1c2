"""Imports a benchmark, whose modules stand beside each other and in no package."""

import sys
from importlib import import_module
from types import ModuleType

from program import ROOT


def benchmark(name: str) -> ModuleType:
    """A module of ``benchmarks``."""
    folder = str(ROOT / "benchmarks")
    if folder not in sys.path:
        # Last, so that no other module can be mistaken for one of these.
        sys.path.append(folder)
    return import_module(name)
