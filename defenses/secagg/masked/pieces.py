"""Parts of messages as they travel: lists of clients with their bitmap, and equal pieces in one block.

A server handles n times k + 1 shares in a round, and cutting each out of its frame takes longer than to look at all of
them at once. Invariant: both are equal to the tuple that they stand for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt


class Listed(tuple[int, ...]):
    """Places in a roster, ascending, with their bitmap, which is made once for all frames that carry the list.

    Attributes:
        bitmap: as it travels.
    """

    bitmap: bytes

    @classmethod
    def of(cls, marks: npt.NDArray[np.bool_]) -> Listed:
        """The places that are marked, of all places."""
        listed = cls(np.flatnonzero(marks).tolist())
        listed.bitmap = np.packbits(marks, bitorder="little").tobytes()
        return listed


class Items(Sequence[bytes]):
    """Equal pieces of bytes as they lie in a frame, one after another; cut when asked for, and equal to a tuple.

    Args:
        block: all of them; of a frame, a part of it, which is kept alive.
        size: bytes of each.
    """

    __slots__ = ("block", "size")

    def __init__(self, block: bytes | memoryview, size: int) -> None:
        self.block, self.size = block, size

    def __len__(self) -> int:
        return len(self.block) // self.size

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[bytes, ...]: ...

    def __getitem__(self, index: int | slice) -> bytes | tuple[bytes, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        at = range(len(self))[index] * self.size
        return bytes(self.block[at : at + self.size])

    def __iter__(self) -> Iterator[bytes]:
        whole, size = bytes(self.block), self.size
        return iter([whole[at : at + size] for at in range(0, len(whole), size)])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Items | tuple) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    @property
    def rows(self) -> npt.NDArray[np.uint8]:
        """[items, size] the bytes, not copied."""
        return np.frombuffer(self.block, dtype=np.uint8).reshape(-1, self.size)
