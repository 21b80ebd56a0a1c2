"""Which classes play the ends that an attack is tried on.

Invariant: `AS_SHIPPED` names what a deployment runs, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from defenses.entropy import Entropy
from defenses.secagg.grouped import GroupedServer
from defenses.secagg.homomorphic.holder import KeyHolder
from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.masked.directory import Diary, Directory, Member
from defenses.secagg.masked.policy import Policy
from defenses.secagg.masked.ratchet import Ratchet
from defenses.secagg.masked.server import MaskedServer
from defenses.secagg.ratchet.client import RatchetClient
from defenses.upload import Upload


def as_it_is(entropy: Entropy) -> Entropy:
    """The source itself."""
    return entropy


def as_they_move(ratchet: Ratchet) -> Ratchet:
    """The chains themselves."""
    return ratchet


def as_they_stand(members: Mapping[int, Member], _chains: Mapping[int, str]) -> Mapping[int, Member]:
    """Clients after a round as it left them, with chains that have moved on."""
    return members


def as_saved_last(_before: bytes, after: bytes) -> bytes:
    """What a client has on disk after a crash: it saves before it sends, so its state after the answer."""
    return after


@dataclass(frozen=True, slots=True)
class Build:
    """The ends under audit.

    Attributes:
        name: in words.
        client: a client of a masked round.
        server: the server of one, where clients are what cheats.
        ratchet: a client of a ratcheted round.
        policy: what a client insists on.
        diary: what it remembers over rounds.
        directory: how it reads a directory's file.
        pinned: whether it trusts its own authority and directory, and not those that the server offers.
        entropy: what it makes of its source of randomness.
        restored: which of its states, before or after an answer, it comes back with after a crash.
        chains: the chains that a client begins with.
        set_back: clients after a round, given what their chains were before it.
        holder: the key holder of an encrypted round.
        grouped: the server of a round in groups, where clients are what cheats.
        upload: what a client hands to its session.
    """

    name: str = "as shipped"
    client: type[MaskedClient] = MaskedClient
    server: type[MaskedServer] = MaskedServer
    ratchet: type[RatchetClient] = RatchetClient
    policy: type[Policy] = Policy
    diary: type[Diary] = Diary
    directory: type[Directory] = Directory
    pinned: bool = True
    entropy: Callable[[Entropy], Entropy] = as_it_is
    restored: Callable[[bytes, bytes], bytes] = as_saved_last
    chains: Callable[[Ratchet], Ratchet] = as_they_move
    set_back: Callable[[Mapping[int, Member], Mapping[int, str]], Mapping[int, Member]] = as_they_stand
    holder: type[KeyHolder] = KeyHolder
    grouped: type[GroupedServer] = GroupedServer
    upload: type[Upload] = Upload


AS_SHIPPED = Build()
