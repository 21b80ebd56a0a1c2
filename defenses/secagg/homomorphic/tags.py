"""Tags: numbers that let the key holder see whether a sum is what the server says it is.

Whoever may add ciphertexts can also leave some out, count one twice, or blank all slots but one client's. So each
upload x of client i carries, inside the encryption, the numbers

    tag_ij = <k_j, x_i> + r_ij  (mod t),   j = 1 .. 4

where k_j is known to all clients and the key holder and r_ij to client i and the key holder; both are fresh for
every round. The key holder, told that the sum is over the clients S, accepts the decrypted X and T only if
``T_j = <k_j, X> + sum over S of r_ij`` for every j. This is the linearly homomorphic authenticator of Agrawal and
Boneh, "Homomorphic MACs: MAC-Based Integrity for Network Coding" (ACNS 2009), for the one combination "each once".

What it shows. A tag is blinded by r_ij, so tags are uniform and tell nothing of k or of the uploads. A server that
works slot by slot (moving numbers between slots takes rotation keys, which nobody makes) can turn the tags it has
into some T' and the uploads into some X'. The check passes only if T' minus the tags of S is <k, X' - sum over S of
x_i>. The left side has nothing to do with k, and the difference on the right is of whole numbers smaller than t. If
it is not zero, then, because k is a product of two uniform vectors (rows and columns), the equation has chance at
most 2/t, and all four together (2/t)^4 = 2^-132. If it is zero, X' is the sum that was claimed. A client that made
no upload cannot be claimed either: its r is as good as a guess.

Both numbers also depend on the round's context, so uploads that were computed from different states do not add up.

What it does not show: that an upload is honest; and where a client that knows k helps the server, only the last of
the sentences above holds. It is no defence against chosen ciphertexts in general either: each answer or refusal of
the key holder may tell a server that crafts ciphertexts one bit about the key, so there are few
(`holder.MAX_REFUSALS`).

Invariant: seeds never leave this file's callers, and nothing here depends on them in its errors or its repr.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from defenses.secagg.homomorphic.parameters import LIMB_BITS, TAG_MODULUS, TAGS, Parameters
from defenses.session import RoundInfo

SEED_BYTES = 32

_MASK = (1 << LIMB_BITS) - 1


def client_seed(master: bytes, client: int) -> bytes:
    """The seed of one client's r, from the key holder's master seed."""
    return hmac.digest(master, b"ifedpriv homomorphic client 1" + client.to_bytes(4, "big"), "sha256")


def shared_seed(master: bytes) -> bytes:
    """The seed of k, which every client has, from the key holder's master seed."""
    return hmac.digest(master, b"ifedpriv homomorphic shared 1", "sha256")


def _residues(seed: bytes, label: bytes, round_info: RoundInfo, count: int) -> list[int]:
    """Uniform numbers modulo t, to within 2^-30 of it, fresh for each round and kind of upload."""
    place = (
        f"|{round_info.number}|{round_info.kind}|{round_info.layout.digest}|{round_info.context}|".encode()
    )
    stream = hashlib.shake_256(b"ifedpriv homomorphic tag 1|" + label + place + seed).digest(8 * count)
    return [int(x) for x in np.frombuffer(stream, dtype="<u8") % np.uint64(TAG_MODULUS)]


def hashes(numbers: npt.NDArray[np.int64], seed: bytes, width: int, round_info: RoundInfo) -> tuple[int, ...]:
    """<k_j, numbers> modulo t for each j.

    Args:
        numbers: [n] whole numbers of any sign.
        seed: what `shared_seed` gave.
        width: numbers in a row; those of one ciphertext.
        round_info: whose k it is.
    """
    rows = -(-len(numbers) // width)
    drawn = _residues(seed, b"k", round_info, TAGS * (rows + width))
    by_row = np.array(drawn[: TAGS * rows], dtype=object).reshape(rows, TAGS)
    by_column = np.array(drawn[TAGS * rows :], dtype=np.int64).reshape(width, TAGS)
    padded = np.zeros(rows * width, dtype=np.int64)
    padded[: len(numbers)] = numbers % TAG_MODULUS
    table = padded.reshape(rows, width)
    # In limbs and in float64, where a matrix product is fast; every partial sum is below 2^(17+17+12).
    low, high = (_product(part, by_column) for part in (table & _MASK, table >> LIMB_BITS))
    sums = (low + (high << LIMB_BITS)) % TAG_MODULUS
    return tuple(int((by_row[:, j] * sums[:, j]).sum() % TAG_MODULUS) for j in range(TAGS))


def _product(part: npt.NDArray[np.int64], by_column: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
    """A matrix product of limbs with whole residues, as Python's integers, which do not wrap."""
    floats = part.astype(np.float64)
    low = (floats @ (by_column & _MASK).astype(np.float64)).astype(np.int64).astype(object)
    high = (floats @ (by_column >> LIMB_BITS).astype(np.float64)).astype(np.int64).astype(object)
    return np.asarray(low + (high << LIMB_BITS), dtype=object)


def blinds(seed: bytes, round_info: RoundInfo) -> tuple[int, ...]:
    """r_ij for each j, from one client's seed."""
    return tuple(_residues(seed, b"r", round_info, TAGS))


def tags(
    numbers: npt.NDArray[np.int64],
    shared: bytes,
    own: bytes,
    parameters: Parameters,
    round_info: RoundInfo,
) -> npt.NDArray[np.int64]:
    """One upload's tags as they go into slots, [check_slots]: each whole, or its lower limb and then its upper."""
    hashed = hashes(numbers, shared, parameters.slots, round_info)
    blinded = [(h + r) % TAG_MODULUS for h, r in zip(hashed, blinds(own, round_info), strict=True)]
    if parameters.tag_limbs == 1:
        return np.array(blinded, dtype=np.int64)
    return np.array([[tag & _MASK, tag >> LIMB_BITS] for tag in blinded], dtype=np.int64).reshape(-1)


def genuine(
    numbers: npt.NDArray[np.int64],
    found: npt.NDArray[np.int64],
    master: bytes,
    contributors: Sequence[int],
    parameters: Parameters,
    round_info: RoundInfo,
) -> bool:
    """Whether decrypted numbers are the sum over these clients, each once.

    Args:
        numbers: [n], the numbers that were decrypted.
        found: [check_slots], the sums of the tags that were decrypted beside them.
        master: the key holder's master seed.
        contributors: who is claimed to be in the sum.
        parameters: the row of the table.
        round_info: the round.
    """
    expected = list(hashes(numbers, shared_seed(master), parameters.slots, round_info))
    for client in contributors:
        own = blinds(client_seed(master, client), round_info)
        expected = [(have + blind) % TAG_MODULUS for have, blind in zip(expected, own, strict=True)]
    limbs = found.reshape(TAGS, parameters.tag_limbs)
    sums = [sum(int(limb) << LIMB_BITS * place for place, limb in enumerate(tag)) for tag in limbs]
    return [tag % TAG_MODULUS for tag in sums] == expected
