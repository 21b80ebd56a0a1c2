"""What both ends of a ratcheted round derive alike.

Invariant: every key and MAC names the round's binding, so that ends which saw different things fit nowhere.
"""

from __future__ import annotations

from defenses.secagg.masked.keys import DOMAIN, derive, hmac_sha256
from defenses.secagg.masked.messages import bitmap
from defenses.secagg.masked.policy import Terms
from defenses.secagg.ratchet.messages import MAC_BYTES


def self_mask_key(terms: Terms, client: int, seed: bytes) -> bytes:
    """The key of the mask that a client puts on alone."""
    return derive(seed, terms.binding, "ratchet self mask", client)


def pair_mask_key(terms: Terms, one: int, other: int, seed: bytes) -> bytes:
    """The key of the mask that two clients share in this round."""
    return derive(seed, terms.binding, "ratchet pair mask", min(one, other), max(one, other))


def list_mac(terms: Terms, key: bytes, sender: int, recipient: int, alive: tuple[int, ...]) -> bytes:
    """8 bytes by which one client assures another of the list that it was shown.

    A server that guesses is right once in 2^64 tries, and each try is a frame that the client refuses.
    """
    numbers = sender.to_bytes(4, "little") + recipient.to_bytes(4, "little")
    content = DOMAIN + b"ratchet list|" + terms.binding + numbers + bitmap(alive, terms.graph.clients)
    return hmac_sha256(key, content)[:MAC_BYTES]
