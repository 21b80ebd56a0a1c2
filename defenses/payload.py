"""How many bytes of a frame are packed numbers, whatever protocol it belongs to.

Invariant: everything that is not numbers counts as overhead, keys and signatures included, so that defenses can be
compared by what they add.
"""

from __future__ import annotations

from defenses.frame import HEADER_SIZE
from defenses.secagg.homomorphic import messages as homomorphic
from defenses.secagg.masked import messages
from defenses.secagg.ratchet import messages as ratchet


def payload_bytes(frame: bytes) -> int:
    """Bytes of packed numbers (and their scales) in a frame that some defense made."""
    if frame[: len(messages.MAGIC)] == messages.MAGIC:
        carries = messages.kind_of(frame) is messages.MaskedInput
        return len(frame) - messages.HEADER_SIZE if carries else 0
    if frame[: len(ratchet.MAGIC)] == ratchet.MAGIC:
        return len(frame) - ratchet.HEADER_SIZE if ratchet.kind_of(frame) is ratchet.Kind.STEP else 0
    if frame[: len(homomorphic.MAGIC)] == homomorphic.MAGIC:
        return len(frame) - homomorphic.HEADER_SIZE
    return len(frame) - HEADER_SIZE
