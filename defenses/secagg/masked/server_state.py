"""What the server has collected in a masked round, and how it survives a crash.

Invariant: one vector whatever the number of clients, and of everything else one array whatever the number of shares;
nothing here is secret from the server, and nothing here is one client's upload.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from defenses.errors import FrameError
from defenses.ring import UIntArray
from defenses.secagg.masked.edges import Edges, Places
from defenses.secagg.masked.keys import KEY_BYTES, SIGNATURE_BYTES
from defenses.secagg.masked.messages import ADVERT_BYTES, COMMITMENT_BYTES, DEAL_BYTES, SEALED_BYTES
from defenses.secagg.masked.phases import ServerPhase
from defenses.secagg.masked.pieces import Items
from defenses.secagg.masked.shamir import SHARE_BYTES
from defenses.session import pack_state, unpack_state

_ROLE = "masked server"

Marks = npt.NDArray[np.bool_]
"""[places] or [shares] of whom, or of what, there is something."""


class Rows:
    """One piece of bytes for each place that has sent it.

    Attributes:
        data: [places, bytes].
        there: [places] who has sent it.
    """

    __slots__ = ("data", "there")

    def __init__(self, places: int, size: int) -> None:
        self.data = np.zeros((places, size), dtype=np.uint8)
        self.there: Marks = np.zeros(places, dtype=np.bool_)

    def put(self, place: int, piece: bytes) -> None:
        """Keep what a place has sent."""
        self.data[place] = np.frombuffer(piece, dtype=np.uint8)
        self.there[place] = True

    def put_all(self, places: Places, pieces: npt.NDArray[np.uint8]) -> None:
        """Keep [places, bytes]."""
        self.data[places] = pieces
        self.there[places] = True

    def get(self, place: int) -> bytes:
        """What a place has sent."""
        return bytes(self.data[place].tobytes())

    def some(self, places: Places) -> Items:
        """What these have sent, in their order."""
        return Items(self.data.take(places, axis=0).tobytes(), self.data.shape[1])

    def block(self) -> bytes:
        """Everything that is there, ascending."""
        return self.data[self.there].tobytes()


class Collected:
    """Everything that has arrived, by place in the roster; shares by dealer and slot (`edges`), in one row.

    Attributes:
        edges: who holds whose shares.
        total: sum of the masked inputs so far.
        adverts: channel key, mask key and signature of whoever advertised.
        seeds: the seed's commitment of whoever shared.
        deals: sealed shares and their commitments; of those that a dealer keeps, the commitments.
        inputs: whose masked input is in the total.
        signatures: of whoever signed the lists.
        opened: the shares that were opened.
        openers: who has opened what it holds.
    """

    def __init__(self, edges: Edges, total: UIntArray) -> None:
        places, around = edges.holders.shape
        self.edges = edges
        self.total = total
        self.adverts = Rows(places, ADVERT_BYTES)
        self.seeds = Rows(places, KEY_BYTES)
        self.deals = Rows(places * around, DEAL_BYTES)
        self.inputs: Marks = np.zeros(places, dtype=np.bool_)
        self.signatures = Rows(places, SIGNATURE_BYTES)
        self.opened = Rows(places * around, SHARE_BYTES)
        self.openers: Marks = np.zeros(places, dtype=np.bool_)

    def answered(self, phase: ServerPhase) -> Marks:
        """Who has sent what a phase takes."""
        match phase:
            case ServerPhase.ADVERTISING:
                return self.adverts.there
            case ServerPhase.SHARING:
                return self.seeds.there
            case ServerPhase.MASKING:
                return self.inputs
            case ServerPhase.SIGNING:
                return self.signatures.there
            case _:
                return self.openers

    def neighbours_in(self, place: int, those: Marks) -> Places:
        """Slots of a place's neighbours that are among these, ascending."""
        among = those.take(self.edges.holders[place])
        among[self.edges.own[place]] = False
        slots: Places = among.nonzero()[0]
        return slots

    def share(self, dealer: int, seed: bytes, own: bytes, deals: Items) -> None:
        """Keep what a dealer has shared: one deal for each neighbour that has advertised."""
        first = dealer * self.edges.holders.shape[1]
        self.deals.put_all(first + self.neighbours_in(dealer, self.adverts.there), deals.rows)
        self.deals.put(first + int(self.edges.own[dealer]), bytes(SEALED_BYTES) + own)
        self.seeds.put(dealer, seed)

    def inbox(self, holder: int, shared: Marks) -> Items:
        """What those of a holder's neighbours who have shared have dealt to it, ascending."""
        return self.deals.some(self.edges.back[holder, self.neighbours_in(holder, shared)])

    def shares_of(self, holder: int, dealers: Places) -> Places | None:
        """Where a holder's shares of these dealers lie; None where one is none of its dealers, or has dealt nothing."""
        holders = self.edges.holders[holder]
        slots = holders.searchsorted(dealers)
        known = holders.take(slots, mode="clip") == dealers
        if not (known.all() and self.seeds.there.take(dealers).all()):
            return None
        where: Places = self.edges.back[holder].take(slots)
        return where

    def commitments(self, where: Places, secrets: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """[m, 16] what dealers committed to for the shares that lie there, and which of the two secrets."""
        both = self.deals.data.take(where, axis=0)[:, SEALED_BYTES:]
        return np.where(secrets[:, None] == 0, both[:, :COMMITMENT_BYTES], both[:, COMMITMENT_BYTES:])

    def open(self, holder: int, where: Places, shares: Items) -> None:
        """Keep what a holder has opened."""
        self.opened.put_all(where, shares.rows)
        self.openers[holder] = True

    def opened_of(self, dealer: int, most: int) -> tuple[list[int], list[bytes]]:
        """Points and shares of a dealer, of the lowest points first, and at most so many."""
        around = self.edges.holders.shape[1]
        slots = dealer * around + self.edges.by_point[dealer]
        points = np.flatnonzero(self.opened.there[slots])[:most]
        return (points + 1).tolist(), list(self.opened.some(slots[points]))

    def __repr__(self) -> str:
        return f"Collected({len(self.inputs)} places, {int(self.inputs.sum())} inputs)"


def pack_server(facts: Mapping[str, Any], got: Collected) -> bytes:
    """A server's session as bytes."""
    lists = {
        "role": _ROLE,
        "adverts": _listed(got.adverts.there),
        "dealers": _listed(got.seeds.there),
        "inputs": _listed(got.inputs),
        "signatures": _listed(got.signatures.there),
        "openers": _listed(got.openers),
    }
    around = got.edges.holders.shape[1]
    blobs = [
        got.total.astype("<u8").tobytes(),
        got.adverts.block(),
        got.seeds.block(),
        got.deals.data.reshape(-1, around * DEAL_BYTES)[got.seeds.there].tobytes(),
        got.signatures.block(),
        np.packbits(got.opened.there).tobytes(),
        got.opened.block(),
    ]
    return pack_state({**facts, **lists}, blobs)


def unpack_server(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Facts and blobs of `pack_server`; `collected` makes the rest of them, once the graph is known.

    Raises:
        FrameError: the bytes are damaged or belong to another kind of session.
    """
    return unpack_state(data, _ROLE)


def collected(
    edges: Edges, dtype: np.dtype[Any], facts: Mapping[str, Any], blobs: Sequence[bytes]
) -> Collected:
    """What a server had collected.

    Args:
        edges: of the round's graph.
        dtype: of a ring element.
        facts: from `unpack_server`.
        blobs: likewise.
    """
    total, adverts, seeds, deals, signatures, shown, opened = blobs
    got = Collected(edges, np.frombuffer(total, dtype="<u8").astype(dtype))
    places, around = edges.holders.shape
    dealers = _places(facts["dealers"], places)
    for rows, where, pieces in (
        (got.adverts, _places(facts["adverts"], places), adverts),
        (got.seeds, dealers, seeds),
        (got.signatures, _places(facts["signatures"], places), signatures),
    ):
        rows.put_all(where, np.frombuffer(pieces, dtype=np.uint8).reshape(len(where), rows.data.shape[1]))
    each = np.frombuffer(deals, dtype=np.uint8).reshape(len(dealers), around * DEAL_BYTES)
    got.deals.data.reshape(places, -1)[dealers] = each
    got.inputs[_places(facts["inputs"], places)] = True
    marks = np.unpackbits(np.frombuffer(shown, dtype=np.uint8))
    if len(shown) != (places * around + 7) // 8 or marks[places * around :].any():
        raise FrameError("saved session is damaged", "resume from another checkpoint")
    where = np.flatnonzero(marks[: places * around])
    got.opened.put_all(where, np.frombuffer(opened, dtype=np.uint8).reshape(len(where), SHARE_BYTES))
    got.openers[_places(facts["openers"], places)] = True
    return got


def _listed(marks: Marks) -> list[int]:
    listed: list[int] = np.flatnonzero(marks).tolist()
    return listed


def _places(listed: Sequence[int], places: int) -> Places:
    """A saved list of places, which would address an array from its end if it were wrong."""
    if not all(type(place) is int for place in listed) or list(listed) != sorted(
        set(listed) & set(range(places))
    ):
        raise FrameError("saved session is damaged", "resume from another checkpoint")
    return np.array(listed, dtype=np.int64)
