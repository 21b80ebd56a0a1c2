"""A client's end of a masked round: what it sends, and above all what it refuses to send.

Invariant: a client answers each message of a round once and keeps what it answered; it opens shares of one kind
only for each peer, and only after enough clients have signed the very lists that it was shown. Whatever it
refuses leaves it as it was.

Reference: Bonawitz et al., CCS 2017, figure 4 (with the consistency check); Bell et al., CCS 2020, for shares
among neighbours only. `docs/protocol.md` has the rules and why each is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from defenses.entropy import Entropy
from defenses.errors import ProtocolError, UserError
from defenses.frame import SERVER
from defenses.grid import scales
from defenses.secagg.masked import derived, shamir
from defenses.secagg.masked.channel import seal, unseal
from defenses.secagg.masked.client_state import Secrets, pack_client, unpack_client
from defenses.secagg.masked.directory import Member
from defenses.secagg.masked.keys import KEY_BYTES, AgreementKey
from defenses.secagg.masked.masks import apply, pair_sign
from defenses.secagg.masked.messages import (
    SEALED_BYTES,
    Advertise,
    Consistency,
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
from defenses.secagg.masked.phases import CLIENT_TRANSITIONS, ClientPhase
from defenses.secagg.masked.policy import Policy, Terms
from defenses.session import RoundInfo, reading_state, refusal
from defenses.upload import Upload


class MaskedClient:
    """One client in one round.

    Save it before you send what `protect` or `receive` gave: a client that is set back answers twice.

    Args:
        member: the client's identity, directory and diary.
        round_info: the round, with the context as this client knows it.
        policy: what this client insists on.
        entropy: all randomness of the round is drawn from it in `protect`.
    """

    def __init__(self, member: Member, round_info: RoundInfo, policy: Policy, entropy: Entropy) -> None:
        self.member = member
        self.me = member.number
        self.phase = ClientPhase.READY
        if self.me not in round_info.roster:
            raise self._refusal(
                "to join", None, f"client {self.me} is not in the roster of round {round_info.number}"
            )
        self.terms = Terms.of(round_info, policy, member.directory)
        self.entropy = entropy
        self.clipped = 0
        self._frames: list[bytes] = []
        self._secrets = Secrets()
        self._place = self.terms.places[self.me]
        self._neighbours = self.terms.graph.neighbours(self._place)

    @property
    def round(self) -> RoundInfo:
        """The round."""
        return self.terms.round

    def protect(self, upload: Upload) -> list[bytes]:
        """Quantise the upload, draw the round's secrets, and give the frame that advertises the keys; once only.

        Reveals: that this client takes part.
        """
        message = f"an upload of kind {upload.kind} for round {upload.round}"
        info, terms = self.round, self.terms
        for wrong, why in (
            (self.phase is not ClientPhase.READY, "it has protected one already, which `resend` gives again"),
            ((upload.kind, upload.round) != (info.kind, info.number), f"this is {_describe(info)}"),
            (upload.layout != info.layout, "its arrays are not those agreed on"),
        ):
            if wrong:
                raise self._refusal(message, self.me, why)
        flat = info.layout.flatten(upload.arrays)
        scale = scales(info.layout, dict(terms.policy.scale))
        quantised = terms.grid.quantise(flat, upload.weight, self.entropy, scale)
        self.member.diary.join(info)
        self.clipped = quantised.clipped
        self._secrets = Secrets.fresh(quantised.slots, terms.graph.shape.threshold, self.entropy)
        keys = self._secrets.public_keys
        signature = derived.sign_advert(terms, self.member.identity, self.me, *keys)
        return self._answer(Advertise(*keys, signature), ClientPhase.ADVERTISED)

    def receive(self, frame: bytes) -> list[bytes]:
        """Take the server's next message and answer it.

        Raises:
            FrameError: the bytes are no message of this protocol.
            ProtocolError: the message may not come now, or asks for what this client does not do.
        """
        header = peek(frame)
        name = header.kind.__name__
        step = CLIENT_TRANSITIONS.get(self.phase)
        for wrong, why in (
            (header.sender != SERVER, "only the server writes to clients"),
            (
                header.round != self.round.number or header.binding != self.terms.binding[:8],
                "it belongs to another round, roster, directory, policy or context",
            ),
            (
                step is None or header.kind is not step.takes,
                f"it takes {step.takes.__name__}" if step else "it takes nothing",
            ),
        ):
            if wrong:
                raise self._refusal(name, header.sender, why)
        assert step is not None
        message = read(header, frame, self.terms.graph.clients)
        match message:
            case Roster():
                answer: Message = self._share(message)
            case Inbox():
                answer = self._mask(message)
            case Survivors():
                answer = self._sign(message)
            case Signatures():
                answer = self._unmask(message)
            case _:
                raise self._refusal(name, SERVER, "only clients send it")
        return self._answer(answer, step.then)

    def resend(self) -> list[bytes]:
        """The very frames made so far."""
        return list(self._frames)

    def _share(self, roster: Roster) -> Shares:
        """Share seed and mask key with the neighbours that are there (Bonawitz et al., figure 4, round 1)."""
        terms, secrets = self.terms, self._secrets
        self._check_list("Roster", "present", roster.present, range(terms.graph.clients))
        assert secrets.channel is not None
        there = self._neighbours_in(roster.present)
        if len(roster.adverts) != len(there):
            raise self._refusal(
                "Roster", SERVER, "its advertisements are not those of this client's neighbours"
            )
        peers: dict[int, tuple[bytes, bytes]] = {}
        for place, advert in zip(there, roster.adverts, strict=True):
            keys = advert[:KEY_BYTES], advert[KEY_BYTES : 2 * KEY_BYTES]
            if not self._keys_hold(place, *keys, advert[2 * KEY_BYTES :]):
                raise self._refusal(
                    "Roster",
                    SERVER,
                    f"client {self._number(place)} did not sign these keys for this round, policy and context",
                )
            peers[place] = keys
        holders = sorted((*there, self._place))
        dealt = self._deal(holders)
        deals = []
        for place in there:
            other = self._number(place)
            sealed = seal(
                secrets.channel,
                peers[place][0],
                terms.binding,
                self.me,
                other,
                b"".join(dealt[place]),
            )
            deals.append(sealed + derived.share_commitments(terms, self.me, other, dealt[place]))
        own = derived.share_commitments(terms, self.me, self.me, dealt[self._place])
        answer = Shares(derived.seed_commitment(terms, self.me, secrets.seed), own, tuple(deals))
        secrets.peers, secrets.present, secrets.drawn = peers, roster.present, b""
        secrets.held[self._place] = dealt[self._place]
        return answer

    def _deal(self, holders: list[int]) -> dict[int, tuple[bytes, bytes]]:
        """Shares of seed and mask key, by holder."""
        graph, secrets = self.terms.graph, self._secrets
        assert secrets.mask is not None
        points = [graph.point(self._place, holder) for holder in holders]
        half = len(secrets.drawn) // 2
        seeds = shamir.split(secrets.seed, graph.shape.threshold, points, secrets.drawn[:half])
        keys = shamir.split(secrets.mask.private, graph.shape.threshold, points, secrets.drawn[half:])
        return dict(zip(holders, zip(seeds, keys, strict=True), strict=True))

    def _mask(self, inbox: Inbox) -> MaskedInput:
        """Open the shares and mask the input (Bonawitz et al., figure 4, round 2)."""
        terms, secrets = self.terms, self._secrets
        self._check_list("Inbox", "shared", inbox.shared, secrets.present)
        assert secrets.channel is not None and secrets.mask is not None
        there = self._neighbours_in(inbox.shared)
        if len(inbox.deals) != len(there):
            raise self._refusal("Inbox", SERVER, "its deals are not those of this client's neighbours")
        held = dict(secrets.held)
        for place, deal in zip(there, inbox.deals, strict=True):
            shares = self._open(secrets.channel, place, deal)
            if shares is not None:
                held[place] = shares
        if not self._inbox_holds(len(there), len(held) - len(secrets.held)):
            raise self._refusal("Inbox", SERVER, "not one of its deals opens, so it is another client's")
        vector = secrets.slots.copy()
        apply(vector, derived.self_mask_key(terms, self.me, secrets.seed), 1)
        for place in there:
            other = self._number(place)
            key = derived.pair_mask_key(terms, self.me, other, secrets.mask, secrets.peers[place][1])
            apply(vector, key, pair_sign(self.me, other))
        self.member.diary.give(self.round.kind)
        secrets.held, secrets.shared = held, inbox.shared
        secrets.forget_input()
        return MaskedInput(terms.grid.ring.pack(vector))

    def _open(self, channel: AgreementKey, place: int, deal: bytes) -> tuple[bytes, bytes] | None:
        """A neighbour's shares; None where they do not open or are not what it committed to.

        A neighbour that deals badly must not be able to stop its neighbours, so they go on without its shares; if
        those are missed, the server names it.
        """
        terms, other = self.terms, self._number(place)
        sealed, commitments = deal[:SEALED_BYTES], deal[SEALED_BYTES:]
        try:
            plain = unseal(
                channel,
                self._secrets.peers[place][0],
                terms.binding,
                other,
                self.me,
                sealed,
            )
        except ProtocolError:
            return None
        shares = plain[: shamir.SHARE_BYTES], plain[shamir.SHARE_BYTES :]
        kept = derived.share_commitments(terms, other, self.me, shares) == commitments
        return shares if kept else None

    def _sign(self, survivors: Survivors) -> Consistency:
        """Put a name to the lists (Bonawitz et al., figure 4, round 3)."""
        secrets = self._secrets
        self._check_list("Survivors", "alive", survivors.alive, secrets.shared)
        lists = derived.both_lists(self.terms, secrets.shared, survivors.alive)
        signature = derived.sign_lists(self.terms, self.member.identity, self.me, lists)
        secrets.alive = survivors.alive
        return Consistency(signature)

    def _unmask(self, message: Signatures) -> Unmask:
        """Open one share for each neighbour, once everybody stands by the lists (figure 4, round 4)."""
        secrets = self._secrets
        self._check_list("Signatures", "signed", message.signed, secrets.alive)
        there = self._neighbours_in(message.signed)
        if len(message.signatures) != len(there):
            raise self._refusal(
                "Signatures", SERVER, "its signatures are not those of this client's neighbours"
            )
        lists = derived.both_lists(self.terms, secrets.shared, secrets.alive)
        for place, signature in zip(there, message.signatures, strict=True):
            if not self._lists_hold(place, lists, signature):
                other = self._number(place)
                raise self._refusal(
                    "Signatures", SERVER, f"client {other} did not sign the lists that this client was shown"
                )
        alive = set(secrets.alive)
        opened = {
            place: shares[derived.SEED if place in alive else derived.MASK_KEY]
            for place, shares in sorted(secrets.held.items())
        }
        secrets.forget_shares()
        return Unmask(tuple(opened), tuple(opened.values()))

    # Each check that stands between this client and a lying server has a name of its own, here and below, so that
    # the audit of servers (`attacks/server.py`) can build clients that lack one and show that it is needed.

    def _keys_hold(self, place: int, channel_key: bytes, mask_key: bytes, signature: bytes) -> bool:
        """Whether the client at a place signed these keys for this round."""
        return derived.advert_holds(self.terms, self._number(place), channel_key, mask_key, signature)

    def _lists_hold(self, place: int, lists: derived.Lists, signature: bytes) -> bool:
        """Whether the client at a place signed the lists that this client was shown."""
        return derived.lists_hold(self.terms, self._number(place), lists, signature)

    def _inbox_holds(self, neighbours: int, opened: int) -> bool:
        """Whether an inbox can be this client's: a few deals may be bad, all of them only in another's inbox."""
        return opened > 0 or neighbours == 0

    def _check_list(
        self, message: str, name: str, listed: tuple[int, ...], within: range | tuple[int, ...]
    ) -> None:
        """What every list must be: a part of the one before, with this client in it, and large enough."""
        strangers = sorted(set(listed) - set(within))
        around = len(self._neighbours_in(listed)) + 1
        threshold = self.terms.graph.shape.threshold
        for wrong, why in (
            (bool(strangers), f"`{name}` has clients that the list before it lacks"),
            (self._place not in listed, f"`{name}` leaves this client out, which is here"),
            (
                len(listed) < self.terms.quorum,
                f"`{name}` has {len(listed)} clients, and this client takes part with {self.terms.quorum} or more",
            ),
            (
                around < threshold,
                f"`{name}` has {around} holders of this client's shares, fewer than the threshold {threshold}",
            ),
        ):
            if wrong:
                raise self._refusal(message, SERVER, why)

    def _answer(self, message: Message, then: ClientPhase) -> list[bytes]:
        terms = self.terms
        frame = encode(
            message,
            clients=terms.graph.clients,
            round_number=self.round.number,
            sender=self.me,
            binding=terms.binding,
        )
        self._frames.append(frame)
        self.phase = then
        return [frame]

    def _neighbours_in(self, listed: tuple[int, ...]) -> list[int]:
        there = set(listed)
        return [place for place in self._neighbours if place in there]

    def _number(self, place: int) -> int:
        return self.round.roster[place]

    def save(self) -> bytes:
        """The session's state, with its secrets and, until it is masked, its input."""
        facts = {
            "me": self.me,
            "round": self.round.to_dict(),
            "phase": str(self.phase),
            "clipped": self.clipped,
        }
        return pack_client({**facts, "binding": self.terms.binding.hex()}, self._secrets, self._frames)

    @classmethod
    @reading_state
    def load(
        cls,
        data: bytes,
        members: Mapping[int, Member],
        policy: Callable[[RoundInfo], Policy],
        entropy: Entropy,
    ) -> MaskedClient:
        """A session from what `save` gave.

        Args:
            data: what `save` gave.
            members: by number; the session's client must be among them.
            policy: gives the same policy for the same round.
            entropy: drawn from only if the upload was not protected yet.
        """
        facts, secrets, frames = unpack_client(data)
        if facts["me"] not in members:
            raise UserError(f"saved session is of client {facts['me']}", "load it where that client's key is")
        info = RoundInfo.from_dict(facts["round"])
        session = cls(members[facts["me"]], info, policy(info), entropy)
        if facts["binding"] != session.terms.binding.hex():
            raise session._refusal("a saved session", None, "it is of another policy or directory")
        session.phase = ClientPhase(facts["phase"])
        session.clipped = int(facts["clipped"])
        secrets.slots = secrets.slots.astype(session.terms.grid.ring.dtype)
        session._secrets, session._frames = secrets, frames
        return session

    def _refusal(self, message: str, sender: int | None, why: str) -> ProtocolError:
        return refusal(f"client {self.me}", self.phase, message, sender, why)

    def __repr__(self) -> str:
        return f"MaskedClient({self.me}, round={self.round.number}, phase={self.phase})"


def _describe(round_info: RoundInfo) -> str:
    return f"round {round_info.number} of kind {round_info.kind}"
