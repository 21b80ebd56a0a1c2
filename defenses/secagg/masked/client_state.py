"""What a client keeps to itself during a masked round, and how it survives a crash.

Invariant: secrets are forgotten as soon as no later step needs them, nothing of them shows in a repr, and what is
saved gives back exactly the same session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from defenses.entropy import Entropy
from defenses.ring import UIntArray
from defenses.secagg.masked import shamir
from defenses.secagg.masked.keys import KEY_BYTES, AgreementKey
from defenses.session import pack_state, unpack_state

_ROLE = "masked client"


def _no_slots() -> UIntArray:
    return np.zeros(0, dtype=np.uint32)


@dataclass(slots=True, eq=False, repr=False)
class Secrets:
    """A client's private state in one round.

    Attributes:
        slots: the quantised upload; empty once it is masked.
        channel: key pair that seals shares; None once they are opened.
        mask: key pair of the pair masks; None once the upload is masked.
        seed: 32 bytes of the self mask.
        drawn: random bytes for sharing, drawn ahead; empty once shared.
        present: places that had advertised.
        shared: places that had shared.
        alive: places whose input arrived.
        peers: place to channel key and mask key, as signed by their owners.
        held: place to its owner's shares of seed and mask key that this client holds.
    """

    slots: UIntArray = field(default_factory=_no_slots)
    channel: AgreementKey | None = None
    mask: AgreementKey | None = None
    seed: bytes = b""
    drawn: bytes = b""
    present: tuple[int, ...] = ()
    shared: tuple[int, ...] = ()
    alive: tuple[int, ...] = ()
    peers: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    held: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)

    @classmethod
    def fresh(cls, slots: UIntArray, threshold: int, entropy: Entropy) -> Secrets:
        """The secrets of a new round; everything that it will ever draw is drawn here."""
        return cls(
            slots,
            AgreementKey.fresh(entropy),
            AgreementKey.fresh(entropy),
            entropy.bytes(KEY_BYTES),
            shamir.draw(threshold, entropy) + shamir.draw(threshold, entropy),
        )

    @property
    def public_keys(self) -> tuple[bytes, bytes]:
        """Channel key and mask key, as they are advertised."""
        assert self.channel is not None and self.mask is not None
        return self.channel.public, self.mask.public

    def forget_input(self) -> None:
        """Drop what only masking needed."""
        self.slots, self.seed, self.mask, self.channel = _no_slots(), b"", None, None
        self.peers = {}

    def forget_shares(self) -> None:
        """Drop the shares once they were opened."""
        self.held = {}

    def __repr__(self) -> str:
        return f"Secrets(<{len(self.slots)} slots>, <{len(self.held)} shares>)"


def pack_client(facts: Mapping[str, Any], secrets: Secrets, frames: list[bytes]) -> bytes:
    """A client's session as bytes."""
    everything = {
        **facts,
        "role": _ROLE,
        "present": secrets.present,
        "shared": secrets.shared,
        "alive": secrets.alive,
        "peers": list(secrets.peers),
        "held": list(secrets.held),
    }
    pairs = (secrets.channel, secrets.mask)
    keys = b"".join(pair.private for pair in pairs if pair is not None) + secrets.seed
    blobs = [
        secrets.slots.astype("<u8").tobytes(),
        keys,
        secrets.drawn,
        b"".join(b"".join(pair) for pair in secrets.peers.values()),
        b"".join(b"".join(pair) for pair in secrets.held.values()),
    ]
    return pack_state(everything, [*blobs, *frames])


def unpack_client(data: bytes) -> tuple[dict[str, Any], Secrets, list[bytes]]:
    """The inverse of `pack_client`; ring elements come as uint64.

    Raises:
        FrameError: the bytes are damaged or belong to another kind of session.
    """
    facts, (slots, keys, drawn, peers, held, *frames) = unpack_state(data, _ROLE)
    channel, mask, seed = (keys[at : at + KEY_BYTES] for at in range(0, 3 * KEY_BYTES, KEY_BYTES))
    secrets = Secrets(
        np.frombuffer(slots, dtype="<u8"),
        AgreementKey(channel) if channel else None,
        AgreementKey(mask) if mask else None,
        seed,
        drawn,
        tuple(facts["present"]),
        tuple(facts["shared"]),
        tuple(facts["alive"]),
        _pairs(facts["peers"], peers, KEY_BYTES),
        _pairs(facts["held"], held, shamir.SHARE_BYTES),
    )
    return facts, secrets, frames


def _pairs(places: list[int], data: bytes, size: int) -> dict[int, tuple[bytes, bytes]]:
    return {
        place: (data[at : at + size], data[at + size : at + 2 * size])
        for place, at in zip(places, range(0, len(data), 2 * size), strict=True)
    }
