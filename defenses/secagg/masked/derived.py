"""What client and server work out alike: signatures' content, masks' keys, commitments.

Invariant: each of them exists once, here, and each names the round's binding; what is made in one round, or under
one policy, directory or context, is worth nothing in another.

Reference: Bonawitz et al., CCS 2017, figure 4; commitments and the second list in the signature are ours, see
`docs/protocol.md`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from defenses.secagg.masked.keys import DOMAIN, KEY_BYTES, AgreementKey, IdentityKey, derive, digest, verify
from defenses.secagg.masked.messages import COMMITMENT_BYTES, bitmap
from defenses.secagg.masked.policy import Terms

SEED, MASK_KEY = 0, 1
"""The two secrets of a client: its self-mask seed, and its private mask key."""

_SHARE = DOMAIN + b"share commitment|"
_COMMITTED = struct.Struct("<IIB")


def sign_advert(
    terms: Terms, identity: IdentityKey, client: int, channel_key: bytes, mask_key: bytes
) -> bytes:
    """A client's signature over its keys for the round."""
    return identity.sign("advertise", terms.binding, _u32(client), channel_key, mask_key)


def advert_holds(terms: Terms, client: int, channel_key: bytes, mask_key: bytes, signature: bytes) -> bool:
    """Whether a client of the directory advertised these keys for this very round."""
    key = terms.directory.key(client)
    return verify(key, signature, "advertise", terms.binding, _u32(client), channel_key, mask_key)


Lists = tuple[bytes, bytes]
"""Who shared and who survived, as bitmaps over the roster."""


def both_lists(terms: Terms, shared: Collection[int], alive: Collection[int]) -> Lists:
    """The two lists in the form in which they are signed; made once for all signatures over them."""
    return bitmap(shared, terms.graph.clients), bitmap(alive, terms.graph.clients)


def sign_lists(terms: Terms, identity: IdentityKey, client: int, lists: Lists) -> bytes:
    """A client's signature over who shared and who survived, as it was told."""
    return identity.sign("lists", terms.binding, _u32(client), *lists)


def lists_hold(terms: Terms, client: int, lists: Lists, signature: bytes) -> bool:
    """Whether a client of the directory signed these very lists in this very round."""
    return verify(terms.directory.key(client), signature, "lists", terms.binding, _u32(client), *lists)


def self_mask_key(terms: Terms, client: int, seed: bytes) -> bytes:
    """The key of the mask that a client puts on alone."""
    return derive(seed, terms.binding, "self mask", client)


def pair_mask_key(terms: Terms, one: int, other: int, mine: AgreementKey, public: bytes) -> bytes:
    """The key of the mask that two clients share; either's key pair gives it."""
    return derive(mine.agree(public), terms.binding, "pair mask", min(one, other), max(one, other))


def seed_commitment(terms: Terms, client: int, seed: bytes) -> bytes:
    """32 bytes that bind a client to its seed; the seed has full entropy, so they hide it."""
    return digest("seed commitment", terms.binding, _u32(client), seed)


def share_commitment(terms: Terms, dealer: int, holder: int, secret: int, share: bytes) -> bytes:
    """16 bytes that bind dealer and holder to a share, so that a wrong one has a culprit."""
    # Every part but the first has a fixed length, so plain concatenation is as good as `digest`, and four times faster.
    content = _SHARE + terms.binding + _COMMITTED.pack(dealer, holder, secret) + share
    return hashlib.sha256(content).digest()[:COMMITMENT_BYTES]


def share_commitments(terms: Terms, dealer: int, holder: int, shares: tuple[bytes, bytes]) -> bytes:
    """Both of a holder's commitments, seed first."""
    return b"".join(
        share_commitment(terms, dealer, holder, which, share) for which, share in enumerate(shares)
    )


def share_commitments_of(
    terms: Terms,
    dealers: npt.NDArray[np.int64],
    holder: int,
    secrets: npt.NDArray[np.uint8],
    shares: npt.NDArray[np.uint8],
) -> npt.NDArray[np.uint8]:
    """As `share_commitment`, for one holder's shares of many dealers.

    Args:
        terms: the round.
        dealers: [m] numbers of the clients.
        holder: number of the client.
        secrets: [m] which of a dealer's two.
        shares: [m, bytes] the shares.

    Returns:
        [m, 16].
    """
    before = _SHARE + terms.binding
    start, size = len(before), len(before) + _COMMITTED.size + shares.shape[1]
    content = np.empty((len(dealers), size), dtype=np.uint8)
    content[:, :start] = np.frombuffer(before, dtype=np.uint8)
    content[:, start : start + 4] = _bytes_of(dealers)
    content[:, start + 4 : start + 8] = np.frombuffer(_u32(holder), dtype=np.uint8)
    content[:, start + 8] = secrets
    content[:, start + 9 :] = shares
    whole, sha256 = content.tobytes(), hashlib.sha256
    made = b"".join([sha256(whole[at : at + size]).digest() for at in range(0, len(whole), size)])
    return np.frombuffer(made, dtype=np.uint8).reshape(-1, KEY_BYTES)[:, :COMMITMENT_BYTES]


def _bytes_of(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """[m, 4] whole numbers as `_u32` writes them."""
    return numbers.astype("<u4").view(np.uint8).reshape(-1, 4)


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")
