"""Check numbers that let the key holder see whether a sum is what the server says it is.

Whoever may add ciphertexts can also leave some out, count one twice, or blank all slots but one client's. So each
upload x of client i carries, inside the encryption, the numbers

    tag_ij = <k_j, x> + r_ij  (mod t),   j = 1 .. 4

where k_j is known to all clients and the key holder and r_ij to client i and the key holder; both are fresh for
every round. The key holder, told that the sum is over the clients S, accepts the decrypted X and T only if
``T_j = <k_j, X> + sum over S of r_ij`` for every j. This is the linearly homomorphic authenticator of Agrawal and
Boneh, "Homomorphic MACs: MAC-Based Integrity for Network Coding" (ACNS 2009), for the one combination "each once".

What it shows. Let the server turn ciphertext i into any slot-by-slot multiple D_i of itself, with c_i in the slot of
a tag, and add what it likes. If some c_i is not 1 for i in S, or not 0 for i outside, the equation holds for at most
one value of r_ij, which is uniform and which the server has seen only encrypted. If all are as they should be, the
sum of (D_i - 1)x_i must be orthogonal to k_j. The vector k_j is a product of two uniform ones (rows and columns), so
for anything but zero that has chance at most 2/t. Hence four tags pass a forgery with chance at most (2/t)^4: 2^-132
for BFV. For CKKS, whose tags are whole numbers modulo a smaller prime inside real numbers, the same count gives
2^-76; there the argument is heuristic, because a server can also multiply by fractions near 1.

Both numbers also depend on the round's context, so uploads that were computed from different states do not add up.

What it does not show: that an upload is honest, and, where a client that knows k_j helps the server, more than the
first half of the argument. It is no defence against chosen ciphertexts in general either: each answer or refusal of
the key holder may tell a server that crafts ciphertexts one bit about the key, so there is one answer a round.

Invariant: seeds never leave this file's callers, and nothing here depends on them in its errors or its repr.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from defenses.secagg.homomorphic.parameters import TAGS, Parameters
from defenses.session import RoundInfo

SEED_BYTES = 32

_LIMB = 17
"""Two limbs of 17 bits hold a residue below 2^34, and sums of 4096 products of limbs are exact in float64."""


def client_seed(master: bytes, client: int) -> bytes:
    """The seed of one client's r, from the key holder's master seed."""
    return hmac.digest(master, b"ifedpriv homomorphic client 1" + client.to_bytes(4, "big"), "sha256")


def shared_seed(master: bytes) -> bytes:
    """The seed of k, which every client has, from the key holder's master seed."""
    return hmac.digest(master, b"ifedpriv homomorphic shared 1", "sha256")


def _residues(seed: bytes, label: bytes, round_info: RoundInfo, count: int, modulus: int) -> list[int]:
    """Uniform numbers modulo ``modulus``, to within 2^-30 of it, fresh for each round and kind of upload."""
    place = (
        f"|{round_info.number}|{round_info.kind}|{round_info.layout.digest}|{round_info.context}|".encode()
    )
    stream = hashlib.shake_256(b"ifedpriv homomorphic tag 1|" + label + place + seed).digest(8 * count)
    return [int(x) for x in np.frombuffer(stream, dtype="<u8") % np.uint64(modulus)]


def hashes(
    numbers: npt.NDArray[np.int64], seed: bytes, parameters: Parameters, round_info: RoundInfo
) -> tuple[int, ...]:
    """<k_j, numbers> modulo t for each j.

    Args:
        numbers: [n] whole numbers of any sign.
        seed: what `shared_seed` gave.
        parameters: gives t and the width of a row.
        round_info: whose k it is.
    """
    modulus, width = parameters.tag_modulus, parameters.slots
    rows = -(-len(numbers) // width)
    drawn = _residues(seed, b"k", round_info, TAGS * (rows + width), modulus)
    by_row = np.array(drawn[: TAGS * rows], dtype=object).reshape(rows, TAGS)
    by_column = np.array(drawn[TAGS * rows :], dtype=np.int64).reshape(width, TAGS)
    padded = np.zeros(rows * width, dtype=np.int64)
    padded[: len(numbers)] = numbers % modulus
    table = padded.reshape(rows, width)
    # In limbs and in float64, where a matrix product is fast; every partial sum is below 2^(17+17+12).
    low, high = (_product(part, by_column) for part in (table & _MASK, table >> _LIMB))
    sums = (low + (high << _LIMB)) % modulus
    return tuple(int((by_row[:, j] * sums[:, j]).sum() % modulus) for j in range(TAGS))


_MASK = (1 << _LIMB) - 1


def _product(part: npt.NDArray[np.int64], by_column: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
    """A matrix product of limbs with whole residues, as Python's integers, which do not wrap."""
    floats = part.astype(np.float64)
    low = (floats @ (by_column & _MASK).astype(np.float64)).astype(np.int64).astype(object)
    high = (floats @ (by_column >> _LIMB).astype(np.float64)).astype(np.int64).astype(object)
    return np.asarray(low + (high << _LIMB), dtype=object)


def blinds(seed: bytes, parameters: Parameters, round_info: RoundInfo) -> tuple[int, ...]:
    """r_ij for each j, from one client's seed."""
    return tuple(_residues(seed, b"r", round_info, TAGS, parameters.tag_modulus))


def tags(
    numbers: npt.NDArray[np.int64],
    shared: bytes,
    own: bytes,
    parameters: Parameters,
    round_info: RoundInfo,
) -> npt.NDArray[np.int64]:
    """One upload's check numbers, [TAGS], from 0 to t - 1."""
    modulus = parameters.tag_modulus
    pairs = zip(
        hashes(numbers, shared, parameters, round_info), blinds(own, parameters, round_info), strict=True
    )
    return np.array([(hashed + blind) % modulus for hashed, blind in pairs], dtype=np.int64)


def genuine(
    numbers: npt.NDArray[np.int64],
    found: npt.NDArray[np.int64],
    master: bytes,
    contributors: Sequence[int],
    parameters: Parameters,
    round_info: RoundInfo,
) -> bool:
    """Whether decrypted numbers are the sum over these clients, each once."""
    modulus = parameters.tag_modulus
    expected = list(hashes(numbers, shared_seed(master), parameters, round_info))
    for client in contributors:
        own = blinds(client_seed(master, client), parameters, round_info)
        expected = [(have + blind) % modulus for have, blind in zip(expected, own, strict=True)]
    return [int(tag) % modulus for tag in found] == expected
