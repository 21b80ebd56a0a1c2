"""What the server has collected in a masked round, and how it survives a crash.

Invariant: one vector whatever the number of clients; nothing here is secret from the server, and nothing here is
one client's upload.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from defenses.ring import UIntArray
from defenses.secagg.masked.keys import KEY_BYTES, SIGNATURE_BYTES
from defenses.secagg.masked.messages import ADVERT_BYTES, COMMITMENT_BYTES, DEAL_BYTES, SEALED_BYTES
from defenses.secagg.masked.phases import ServerPhase
from defenses.secagg.masked.shamir import SHARE_BYTES
from defenses.session import pack_state, unpack_state

_ROLE = "masked server"
_COMMITMENTS_BYTES = KEY_BYTES + 2 * COMMITMENT_BYTES


@dataclass(slots=True, eq=False, repr=False)
class Collected:
    """Everything that has arrived, by place in the roster.

    Attributes:
        total: sum of the masked inputs so far.
        adverts: channel key, mask key and signature of whoever advertised.
        deals: dealer to holder to sealed shares and their commitments.
        commitments: dealer to its seed's commitment and those of the shares that it keeps.
        inputs: whose masked input is in the total.
        signatures: of whoever signed the lists.
        opened: holder to dealer to the share that was opened.
    """

    total: UIntArray
    adverts: dict[int, bytes] = field(default_factory=dict)
    deals: dict[int, dict[int, bytes]] = field(default_factory=dict)
    commitments: dict[int, bytes] = field(default_factory=dict)
    inputs: set[int] = field(default_factory=set)
    signatures: dict[int, bytes] = field(default_factory=dict)
    opened: dict[int, dict[int, bytes]] = field(default_factory=dict)

    def answered(self, phase: ServerPhase) -> AbstractSet[int]:
        """Who has sent what a phase takes."""
        match phase:
            case ServerPhase.ADVERTISING:
                return self.adverts.keys()
            case ServerPhase.SHARING:
                return self.deals.keys()
            case ServerPhase.MASKING:
                return self.inputs
            case ServerPhase.SIGNING:
                return self.signatures.keys()
            case _:
                return self.opened.keys()

    def commitment(self, dealer: int, holder: int, secret: int) -> bytes:
        """What a dealer committed to for one share; nothing where it dealt none."""
        if dealer == holder:
            kept, at = self.commitments[dealer], KEY_BYTES + secret * COMMITMENT_BYTES
        else:
            kept, at = self.deals[dealer].get(holder, b""), SEALED_BYTES + secret * COMMITMENT_BYTES
        return kept[at : at + COMMITMENT_BYTES]


def pack_server(facts: Mapping[str, Any], got: Collected) -> bytes:
    """A server's session as bytes."""
    lists = {
        "role": _ROLE,
        "adverts": list(got.adverts),
        "deals": [[dealer, list(deals)] for dealer, deals in got.deals.items()],
        "inputs": sorted(got.inputs),
        "signatures": list(got.signatures),
        "opened": [[holder, list(shares)] for holder, shares in got.opened.items()],
    }
    blobs = [
        got.total.astype("<u8").tobytes(),
        b"".join(got.adverts.values()),
        b"".join(got.commitments[dealer] for dealer in got.deals),
        b"".join(b"".join(deals.values()) for deals in got.deals.values()),
        b"".join(got.signatures.values()),
        b"".join(b"".join(shares.values()) for shares in got.opened.values()),
    ]
    return pack_state({**facts, **lists}, blobs)


def unpack_server(data: bytes) -> tuple[dict[str, Any], Collected]:
    """The inverse of `pack_server`; ring elements come as uint64.

    Raises:
        FrameError: the bytes are damaged or belong to another kind of session.
    """
    facts, (total, adverts, commitments, deals, signatures, opened) = unpack_state(data, _ROLE)
    dealers = [dealer for dealer, _ in facts["deals"]]
    got = Collected(
        np.frombuffer(total, dtype="<u8"),
        _items(facts["adverts"], adverts, ADVERT_BYTES),
        _nested(facts["deals"], deals, DEAL_BYTES),
        _items(dealers, commitments, _COMMITMENTS_BYTES),
        set(facts["inputs"]),
        _items(facts["signatures"], signatures, SIGNATURE_BYTES),
        _nested(facts["opened"], opened, SHARE_BYTES),
    )
    return facts, got


def _items(places: list[int], data: bytes, size: int) -> dict[int, bytes]:
    return {place: data[i * size : (i + 1) * size] for i, place in enumerate(places)}


def _nested(lists: list[Any], data: bytes, size: int) -> dict[int, dict[int, bytes]]:
    result, at = {}, 0
    for outer, inner in lists:
        result[outer] = _items(inner, data[at : at + len(inner) * size], size)
        at += len(inner) * size
    return result
