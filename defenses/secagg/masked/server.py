"""The server's end of a masked round: it routes, adds up what is masked, and at the end takes the masks off the sum.

Invariant: masked inputs are added as they come and never kept; what is refused names its sender and leaves the
session as it was; a round ends in the exact sum over the clients that survived it, or in an error.

Reference: Bonawitz et al., CCS 2017, figure 4; Bell et al., CCS 2020, for the sparse graph.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np

from defenses.errors import ProtocolError
from defenses.frame import SERVER
from defenses.grid import scales
from defenses.ring import UIntArray
from defenses.secagg.masked import derived
from defenses.secagg.masked.directory import Directory
from defenses.secagg.masked.edges import Edges, Places
from defenses.secagg.masked.messages import (
    Advertise,
    Consistency,
    Header,
    Inbox,
    MaskedInput,
    Message,
    Roster,
    Shares,
    Signatures,
    Survivors,
    Unmask,
    encode,
    peek,
    read,
)
from defenses.secagg.masked.phases import SERVER_TRANSITIONS, ServerPhase
from defenses.secagg.masked.pieces import Items, Listed
from defenses.secagg.masked.policy import Policy, Terms
from defenses.secagg.masked.server_state import Collected, Marks, collected, pack_server, unpack_server
from defenses.secagg.masked.unmask import Broken, take_off
from defenses.session import Aggregate, RoundInfo, reading_state, refusal


class MaskedServer:
    """The server in one round; it draws no randomness and knows no secret.

    Args:
        round_info: the round, with the context as the server knows it.
        policy: the clients' policy.
        directory: the key directory, by which the server tells whose message is false.
    """

    def __init__(self, round_info: RoundInfo, policy: Policy, directory: Directory) -> None:
        self.terms = Terms.of(round_info, policy, directory)
        self.phase = ServerPhase.ADVERTISING
        self._waiting = set(range(self.terms.graph.clients))
        self._lost: set[int] = set()
        self._numbers = np.array(round_info.roster, dtype=np.int64)
        nothing = np.zeros(self.terms.slots, dtype=self.terms.grid.ring.dtype)
        self._got = Collected(Edges.of(self.terms.graph), nothing)
        self._failure = ""
        self._lists: derived.Lists | None = None
        self._total: UIntArray | None = None
        self._aggregate: Aggregate | None = None

    @property
    def round(self) -> RoundInfo:
        """The round."""
        return self.terms.round

    @property
    def waiting_for(self) -> tuple[int, ...]:
        """Clients whose answer in this phase is neither there nor given up, ascending."""
        return tuple(self._number(place) for place in sorted(self._waiting))

    def receive(self, sender: int, frame: bytes) -> dict[int, list[bytes]]:
        """Take a frame from one client; once nobody is waited for, the frames of the next phase, by recipient.

        Raises:
            FrameError: the bytes are no message of this protocol.
            ProtocolError: the message may not come from this sender, not now, or holds something false.
        """
        header = peek(frame)
        place = self.terms.places.get(sender, -1)
        why = self._unfit(header, sender, place)
        if why:
            raise self._refusal(header.kind.__name__, sender, why)
        message = read(header, frame, self.terms.graph.clients)
        match message:
            case Advertise():
                self._take_advert(place, message)
            case Shares():
                self._take_shares(place, message)
            case MaskedInput():
                self._take_input(place, message)
            case Consistency():
                self._take_signature(place, message)
            case Unmask():
                self._take_opened(place, message)
        self._waiting.discard(place)
        return self._advance()

    def _unfit(self, header: Header, sender: int, place: int) -> str:
        """Why a message may not come from this sender, or not now; empty where it may."""
        step = SERVER_TRANSITIONS.get(self.phase)
        if step is None:
            return self._failure or "the round is over"
        if header.sender != sender:
            return f"it names {header.sender} as its sender"
        if place < 0:
            return f"the sender is not in the roster of {self._describe()}"
        if header.round != self.round.number or header.binding != self.terms.binding[:8]:
            return "it belongs to another round, roster, directory, policy or context"
        if header.kind is not step.takes:
            return f"it takes {step.takes.__name__}"
        if place in self._lost:
            return "the sender was declared lost"
        if self._got.answered(self.phase)[place]:
            return "the sender has sent it already"
        return "" if place in self._waiting else "the sender is not asked"

    def lost(self, clients: Collection[int]) -> dict[int, list[bytes]]:
        """Wait for these clients no longer. What has arrived from one still counts."""
        strangers = sorted(set(clients) - set(self.round.roster))
        if strangers:
            raise self._refusal(
                f"the loss of clients {sorted(clients)}", None, f"{strangers} are not in the roster"
            )
        if self.phase not in SERVER_TRANSITIONS:
            return {}
        self._lost |= {self.terms.places[client] for client in clients}
        self._waiting -= self._lost
        return self._advance()

    def _take_advert(self, place: int, message: Advertise) -> None:
        keys = message.channel_key, message.mask_key
        if not derived.advert_holds(self.terms, self._number(place), *keys, message.signature):
            raise self._refusal("Advertise", self._number(place), "its signature does not hold")
        self._got.adverts.put(place, b"".join((*keys, message.signature)))

    def _take_shares(self, place: int, message: Shares) -> None:
        there = len(self._got.neighbours_in(place, self._got.adverts.there))
        if len(message.deals) != there:
            why = f"it deals to {len(message.deals)} neighbours, where {there} are there"
            raise self._refusal("Shares", self._number(place), why)
        self._got.share(place, message.seed_commitment, message.own_commitments, _items(message.deals))

    def _take_input(self, place: int, message: MaskedInput) -> None:
        ring = self.terms.grid.ring
        size = ring.packed_size(self.terms.slots)
        if len(message.elements) != size:
            why = f"it has {len(message.elements)} bytes of elements, where {self.terms.slots} take {size}"
            raise self._refusal("MaskedInput", self._number(place), why)
        # Where elements fill their type they are added straight from the frame: a copy would cost as much as that.
        np.add(self._got.total, ring.unpack(message.elements, self.terms.slots), out=self._got.total)
        self._got.inputs[place] = True

    def _take_signature(self, place: int, message: Consistency) -> None:
        if self._lists is None:
            # Both are final by now, and everybody signs the same two.
            self._lists = derived.both_lists(
                self.terms, Listed.of(self._got.seeds.there), Listed.of(self._got.inputs)
            )
        if not derived.lists_hold(self.terms, self._number(place), self._lists, message.signature):
            raise self._refusal(
                "Consistency", self._number(place), "its signature does not hold for the lists sent"
            )
        self._got.signatures.put(place, message.signature)

    def _take_opened(self, place: int, message: Unmask) -> None:
        holder, got = self._number(place), self._got
        dealers, shares = np.array(message.of, dtype=np.int64), _items(message.shares)
        where = got.shares_of(place, dealers)
        if where is None or len(dealers) != len(shares):
            raise self._refusal("Unmask", holder, "its shares are not one each of the sender's neighbours")
        wrong = self._wrong_share(place, dealers, where, shares)
        if wrong is not None:
            dealer = self._number(message.of[wrong])
            why = f"its share of client {dealer} is not the one that was committed to"
            raise self._refusal("Unmask", holder, why)
        got.open(place, where, shares)

    def _wrong_share(self, place: int, dealers: Places, where: Places, shares: Items) -> int | None:
        """Which of a holder's shares is the first that is not what was committed to; None where all are."""
        got, numbers = self._got, self._numbers
        # Of who is in the sum the first secret, the seed, and of others the second.
        secrets = np.logical_not(got.inputs.take(dealers)).view(np.uint8)
        made = derived.share_commitments_of(
            self.terms, numbers.take(dealers), int(numbers[place]), secrets, shares.rows
        )
        committed = got.commitments(where, secrets)
        if made.tobytes() == committed.tobytes():
            return None
        return int((made != committed).any(axis=1).argmax())

    def _advance(self) -> dict[int, list[bytes]]:
        """Go on once nobody is waited for: to the next phase and its frames, or to the end."""
        step = SERVER_TRANSITIONS.get(self.phase)
        if step is None or self._waiting:
            return {}
        done = self._got.answered(self.phase)
        left = int(done.sum())
        if step.sends is not None and left < self.terms.quorum:
            return self._fail(
                f"{left} clients are left of {self.terms.graph.clients} after {self.phase}, "
                f"and a sum takes {self.terms.quorum}"
            )
        self.phase = step.then
        if step.sends is None:
            return {}
        self._waiting = set(Listed.of(done)) - self._lost
        # Whoever is lost already cannot be waited for, so the next phase may be over before it has begun.
        return self._frames(step.sends, done, self._waiting) or self._advance()

    def _frames(self, kind: type[Message], done: Marks, recipients: Iterable[int]) -> dict[int, list[bytes]]:
        """The next phase's frames: to each who has done the last one, and of what its neighbours have sent in it."""
        got, listed, result = self._got, Listed.of(done), {}
        for place in sorted(recipients):
            there = got.edges.holders[place].take(got.neighbours_in(place, done))
            message: Message
            if kind is Roster:
                message = Roster(listed, got.adverts.some(there))
            elif kind is Inbox:
                message = Inbox(listed, got.inbox(place, done))
            elif kind is Survivors:
                message = Survivors(listed)
            else:
                message = Signatures(listed, got.signatures.some(there))
            result[self._number(place)] = [self._encode(message)]
        return result

    def sum(self) -> UIntArray:
        """The exact sum as ring elements, the numbers and then the weight: all that the server can work out.

        Raises:
            ProtocolError: somebody is still expected, or the round has failed.
        """
        self.aggregate()
        assert self._total is not None
        return self._total.copy()

    def aggregate(self) -> Aggregate:
        """The weighted mean over the survivors; asking again gives the same.

        Raises:
            ProtocolError: somebody is still expected, or the round has failed; the sentence says at whom or why.
        """
        if self.waiting_for:
            raise self._refusal(
                "to aggregate",
                None,
                f"clients {list(self.waiting_for)} have neither sent nor been declared lost",
            )
        if self._aggregate is None and not self._failure:
            self._finish()
        if self._aggregate is None:
            raise self._refusal("to aggregate", None, self._failure)
        return self._aggregate

    def _finish(self) -> None:
        """Take the masks off and read the sum; the result, or why there is none, is kept."""
        terms, got = self.terms, self._got
        try:
            self._total = take_off(terms, got)
            scale = scales(self.round.layout, dict(terms.policy.scale))
            means, weight = terms.grid.dequantise(self._total, scale)
        except (Broken, ProtocolError) as error:
            self._fail(str(error))
            return
        contributors = tuple(self._number(place) for place in Listed.of(got.inputs))
        self._aggregate = Aggregate(
            self.round.layout.unflatten(means),
            float(weight),
            contributors,
            self.round.kind,
            self.round.number,
            sums=terms.grid.ring.signed(self._total[:-1]),
        )

    def _number(self, place: int) -> int:
        return self.round.roster[place]

    def _encode(self, message: Message) -> bytes:
        return encode(
            message,
            clients=self.terms.graph.clients,
            round_number=self.round.number,
            sender=SERVER,
            binding=self.terms.binding,
        )

    def _fail(self, why: str) -> dict[int, list[bytes]]:
        self.phase, self._failure, self._waiting = ServerPhase.FAILED, why, set()
        return {}

    def save(self) -> bytes:
        """The session's state; before the end it shows nobody's upload."""
        facts = {
            "round": self.round.to_dict(),
            "phase": str(self.phase),
            "binding": self.terms.binding.hex(),
            "waiting": sorted(self._waiting),
            "lost": sorted(self._lost),
            "failure": self._failure,
        }
        return pack_server(facts, self._got)

    @classmethod
    @reading_state
    def load(cls, data: bytes, policy: Callable[[RoundInfo], Policy], directory: Directory) -> MaskedServer:
        """A session from what `save` gave, under the same policy and directory."""
        facts, blobs = unpack_server(data)
        info = RoundInfo.from_dict(facts["round"])
        session = cls(info, policy(info), directory)
        if facts["binding"] != session.terms.binding.hex():
            raise session._refusal("a saved session", None, "it is of another policy or directory")
        session.phase = ServerPhase(facts["phase"])
        session._waiting, session._lost = set(facts["waiting"]), set(facts["lost"])
        session._failure = facts["failure"]
        session._got = collected(session._got.edges, session.terms.grid.ring.dtype, facts, blobs)
        return session

    def _describe(self) -> str:
        return f"round {self.round.number} of kind {self.round.kind}"

    def _refusal(self, message: str, sender: int | None, why: str) -> ProtocolError:
        return refusal("server", self.phase, message, sender, why)

    def __repr__(self) -> str:
        return f"MaskedServer(round={self.round.number}, phase={self.phase}, {int(self._got.inputs.sum())} inputs)"


def _items(pieces: Sequence[bytes]) -> Items:
    """Pieces as they lie in the frame that was read."""
    assert isinstance(pieces, Items)
    return pieces
