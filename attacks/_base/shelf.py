"""Where an attack may leave what took it long, and find it again: arrays under a digest of all that decided them.

The invariant: an attack opens no file. Whoever starts it may hand it a shelf, and without one nothing is kept beyond
the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.float32]]


class Shelf(Protocol):
    """Named float32 arrays by digest."""

    def take(self, digest: str) -> Arrays | None:
        """What was put there under this digest; None for nothing."""
        ...

    def put(self, digest: str, arrays: Arrays) -> None:
        """Keep arrays under this digest."""
        ...
