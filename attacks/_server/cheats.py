"""A client that cheats: it runs the protocol to the letter, and what it sums is false.

Invariant: everything but the numbers is what an honest client would send, so nothing under the masks gives it away.
"""

from __future__ import annotations

from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.ratchet.client import RatchetClient
from defenses.upload import Upload


def magnified(upload: Upload, factor: float = 1000.0) -> Upload:
    """The same upload, so many times larger and turned around; the grid takes it as far as its clip."""
    arrays = {name: -factor * array for name, array in upload.arrays.items()}
    return Upload(arrays, upload.weight, upload.round, upload.kind)


class MagnifyingClient(MaskedClient):
    """Sends its upload a thousand times as large."""

    def protect(self, upload: Upload) -> list[bytes]:
        """The frames that carry the false upload."""
        return super().protect(magnified(upload))


class MagnifyingRatchetClient(RatchetClient):
    """The same, in a ratcheted round."""

    def protect(self, upload: Upload) -> list[bytes]:
        """The frames that carry the false upload."""
        return super().protect(magnified(upload))
