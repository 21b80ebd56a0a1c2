"""Who is who: the clients' identity keys, under an authority's signature that every client checks.

A client takes part only with keys that it finds in the directory it was given out of band, so a server cannot add
clients of its own or put itself between two others. Invariant: a `Directory` that exists is well formed and
signed, and a `Diary` lets a client answer one round number once, also after a crash.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from defenses.entropy import Entropy
from defenses.errors import FrameError, ProtocolError, UserError, reading
from defenses.secagg.masked.keys import (
    DIGEST_BYTES,
    KEY_BYTES,
    SIGNATURE_BYTES,
    AgreementKey,
    IdentityKey,
    digest,
    verify,
)
from defenses.secagg.masked.ratchet import Ratchet
from defenses.session import RoundInfo
from defenses.upload import MAX_U32, UploadKind

_MAGIC = b"IFKD1\n"
_ENTRY = 4 + 2 * KEY_BYTES
_PURPOSE = "key directory"


@dataclass(frozen=True)
class Directory:
    """Client numbers and their public identity keys, signed.

    Attributes:
        nonce: 32 bytes that the authority draws, so that two directories of the same clients differ.
        keys: client number to Ed25519 public key; read-only.
        agreements: client number to X25519 public key, from which ratchets begin; read-only.
        signature: the authority's, over nonce and keys.
        authority: the Ed25519 public key that clients trust.
    """

    nonce: bytes
    keys: Mapping[int, bytes]
    agreements: Mapping[int, bytes]
    signature: bytes
    authority: bytes

    def __post_init__(self) -> None:
        for name in ("keys", "agreements"):
            object.__setattr__(self, name, MappingProxyType(dict(sorted(getattr(self, name).items()))))
        if not self.keys or any(not 0 <= number < MAX_U32 for number in self.keys):
            raise UserError("key directory is empty or numbers a client beyond 0 to 2^32 - 2", "make it anew")
        for found in (self.keys, self.agreements):
            if found.keys() != self.keys.keys() or len(set(found.values())) != len(self.keys):
                raise UserError(
                    "key directory gives two clients the same key, or one none", "register both keys of each"
                )
        if not verify(self.authority, self.signature, _PURPOSE, self._body):
            raise UserError(
                "key directory is not signed by the authority that this client trusts",
                "ask for the file again, over a way that the server does not control",
            )

    @classmethod
    def sign(
        cls,
        keys: Mapping[int, bytes],
        agreements: Mapping[int, bytes],
        authority: IdentityKey,
        entropy: Entropy,
    ) -> Directory:
        """A new directory; what an authority does once, when all clients have registered."""
        nonce = entropy.bytes(DIGEST_BYTES)
        signature = authority.sign(_PURPOSE, _body(nonce, keys, agreements))
        return cls(nonce, keys, agreements, signature, authority.public)

    @property
    def _body(self) -> bytes:
        return _body(self.nonce, self.keys, self.agreements)

    @cached_property
    def session(self) -> bytes:
        """32 bytes that name this directory in every signature, key and seal."""
        return digest("session", self._body)

    def key(self, client: int) -> bytes:
        """A client's public identity key.

        Raises:
            ProtocolError: the client is not in the directory.
        """
        if client not in self.keys:
            raise ProtocolError(f"client {client} is not in the key directory")
        return self.keys[client]

    def save(self) -> bytes:
        """The file: magic, signature, nonce, then number (u32) and both keys of each client, ascending."""
        return _MAGIC + self.signature + self._body

    @classmethod
    def load(cls, data: bytes, authority: bytes) -> Directory:
        """A directory from its file.

        Args:
            data: what `save` gave.
            authority: the public key that must have signed it.
        """
        start = len(_MAGIC) + SIGNATURE_BYTES + DIGEST_BYTES
        entries = data[start:]
        if not data.startswith(_MAGIC) or len(data) < start or len(entries) % _ENTRY:
            raise FrameError("key directory is not one this program wrote", "ask for the file again")
        keys, agreements = {}, {}
        for at in range(0, len(entries), _ENTRY):
            number = int.from_bytes(entries[at : at + 4], "little")
            keys[number] = entries[at + 4 : at + 4 + KEY_BYTES]
            agreements[number] = entries[at + 4 + KEY_BYTES : at + _ENTRY]
        if len(keys) != len(entries) // _ENTRY or list(keys) != sorted(keys):
            raise FrameError("key directory names a client twice or out of order", "ask for the file again")
        signature = data[len(_MAGIC) : len(_MAGIC) + SIGNATURE_BYTES]
        return cls(data[start - DIGEST_BYTES : start], keys, agreements, signature, authority)


def _body(nonce: bytes, keys: Mapping[int, bytes], agreements: Mapping[int, bytes]) -> bytes:
    entries = (
        number.to_bytes(4, "little") + keys[number] + agreements.get(number, b"") for number in sorted(keys)
    )
    return nonce + b"".join(entries)


ONCE_ONLY = frozenset({UploadKind.VECTOR})
"""Kinds that do not change from round to round: two sums of them that differ in one client would show that client."""


class Diary:
    """What a client must remember over all rounds of a directory: rounds joined, and sums that cannot be taken back.

    Keep it as durably as the identity key: a client whose diary is set back can be made to answer a round twice.

    Args:
        highest: the highest round number joined; -1 for none.
        given: kinds of upload that have gone into a sum and may not go into another.
    """

    def __init__(self, highest: int = -1, given: Collection[UploadKind] = ()) -> None:
        self.highest = highest
        self.given = {UploadKind(kind) for kind in given}

    def join(self, round_info: RoundInfo) -> None:
        """Write a round down before the first frame of it leaves.

        Raises:
            ProtocolError: the number is not above every one before, or the kind was given once already.
        """
        if round_info.number <= self.highest:
            raise ProtocolError(
                f"round {round_info.number} is not above round {self.highest}, which this client has joined",
                "give every round a number of its own, in ascending order",
            )
        if round_info.kind in self.given:
            raise ProtocolError(
                f"an upload of kind {round_info.kind} has gone into a sum of this directory already",
                "two sums of it that differ in a client would show that client: register clients anew",
            )
        self.highest = round_info.number

    def give(self, kind: UploadKind) -> None:
        """Write down that a masked upload of this kind leaves now."""
        if kind in ONCE_ONLY:
            self.given.add(kind)

    def save(self) -> str:
        """As JSON text."""
        return json.dumps({"highest": self.highest, "given": sorted(self.given)})

    @classmethod
    @reading("diary", "take the last one that was written; a client without its diary has to enrol anew")
    def load(cls, text: str) -> Diary:
        """The inverse of `save`.

        Raises:
            FrameError: it is no diary.
        """
        data: dict[str, Any] = json.loads(text)
        return cls(int(data["highest"]), data["given"])


@dataclass(frozen=True, slots=True, repr=False)
class Member:
    """What one client brings to every round.

    Attributes:
        number: its number in the directory.
        identity: its identity key.
        directory: the directory that it trusts.
        diary: what it remembers.
        ratchet: its chains to all others.
    """

    number: int
    identity: IdentityKey
    directory: Directory
    diary: Diary
    ratchet: Ratchet

    def __post_init__(self) -> None:
        if self.directory.key(self.number) != self.identity.public:
            raise UserError(
                f"client {self.number}'s identity key is not the one in the key directory",
                "use the key that was registered",
            )

    def __repr__(self) -> str:
        return f"Member({self.number})"


def enrol(clients: Collection[int], entropy: Entropy, *, chains: bool = True) -> dict[int, Member]:
    """Keys, a directory and empty diaries for clients of one process: a simulation, or a test.

    Args:
        clients: their numbers.
        entropy: draws all keys.
        chains: whether ratchets begin, which takes an agreement for every two clients; without, rounds of
            `defenses.secagg.ratchet` cannot be played.
    """
    identities = {client: IdentityKey.fresh(entropy) for client in sorted(clients)}
    agreements = {client: AgreementKey.fresh(entropy) for client in sorted(clients)}
    authority = IdentityKey.fresh(entropy)
    public = {c: key.public for c, key in agreements.items()}
    directory = Directory.sign({c: key.public for c, key in identities.items()}, public, authority, entropy)
    session, peers = directory.session, public if chains else {}
    return {
        c: Member(c, key, directory, Diary(), Ratchet.begin(session, c, agreements[c], peers))
        for c, key in identities.items()
    }
