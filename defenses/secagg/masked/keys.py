"""Key agreement, derivation and signatures, each in the one form that the protocol uses.

Invariant: every private key comes from the caller's `Entropy` as 32 raw bytes, every derived key has 256 bits
and names in its derivation what it is for and in which round, and no secret shows in a repr or an error.

Reference: X25519 (RFC 7748), HKDF-SHA256 (RFC 5869), Ed25519 (RFC 8032).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from defenses.entropy import Entropy
from defenses.errors import ProtocolError, UserError

KEY_BYTES = 32
SIGNATURE_BYTES = 64
DIGEST_BYTES = 32
DOMAIN = b"ifedpriv secagg 1 "
"""Stands in front of everything that is hashed, signed or derived here; the number is the protocol's version."""


class AgreementKey:
    """An X25519 key pair for one round.

    Args:
        private: 32 bytes.
    """

    __slots__ = ("_agreed", "_key", "private", "public")

    def __init__(self, private: bytes) -> None:
        # Kept as an object, because making it from bytes costs as much as an agreement.
        self._key = X25519PrivateKey.from_private_bytes(private)
        # Both directions of a sealed channel come from one agreement; what was agreed is forgotten with the key.
        self._agreed: dict[bytes, bytes] = {}
        self.private = private
        self.public = self._key.public_key().public_bytes_raw()

    @classmethod
    def fresh(cls, entropy: Entropy) -> AgreementKey:
        """A new pair."""
        return cls(entropy.bytes(KEY_BYTES))

    def agree(self, public: bytes) -> bytes:
        """The secret shared with another key's owner, 32 bytes; pass it to `derive` and nowhere else.

        Raises:
            ProtocolError: the public key is one of the few that give everybody the same secret.
        """
        if public not in self._agreed:
            try:
                self._agreed[public] = self._key.exchange(X25519PublicKey.from_public_bytes(public))
            except ValueError as error:
                raise ProtocolError("a public key for key agreement is degenerate") from error
        return self._agreed[public]

    def __repr__(self) -> str:
        return "AgreementKey(<private>)"


def derive(secret: bytes, binding: bytes, purpose: str, *numbers: int) -> bytes:
    """A key of 32 bytes for one purpose in one round: HKDF-SHA256, of whose expansion one block is all.

    Args:
        secret: of full length, for example from `AgreementKey.agree`.
        binding: 32 bytes that name the round and everything agreed on in it; the salt.
        purpose: what the key is for.
        numbers: of the clients concerned, in the order that the purpose fixes.
    """
    info = DOMAIN + purpose.encode("ascii") + b"|" + struct.pack(f"<{len(numbers)}I", *numbers)
    return hmac_sha256(hmac_sha256(binding, secret), info + b"\x01")


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104) under a key of 32 bytes.

    By the standard library's one-shot call: a client of a round makes hundreds, and setting up an object for each takes
    several times as long.
    """
    if len(key) != KEY_BYTES:
        raise UserError(f"a key for HMAC has {len(key)} bytes", f"use {KEY_BYTES}")
    return hmac.digest(key, message, "sha256")


def digest(purpose: str, *parts: bytes) -> bytes:
    """SHA-256 over a purpose and parts, each with its length in front, so that no two lists collide."""
    state = hashlib.sha256(DOMAIN + purpose.encode("ascii"))
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()


@dataclass(frozen=True, slots=True, repr=False)
class IdentityKey:
    """A client's long-lived Ed25519 key pair; the public half stands in the key directory.

    Attributes:
        private: 32 bytes.
        public: 32 bytes.
    """

    private: bytes
    public: bytes

    @classmethod
    def fresh(cls, entropy: Entropy) -> IdentityKey:
        """A new pair."""
        return cls.of(entropy.bytes(KEY_BYTES))

    @classmethod
    def of(cls, private: bytes) -> IdentityKey:
        """The pair that a private key belongs to."""
        return cls(private, Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw())

    def sign(self, purpose: str, *parts: bytes) -> bytes:
        """A signature of 64 bytes over a purpose and parts."""
        return Ed25519PrivateKey.from_private_bytes(self.private).sign(digest(purpose, *parts))

    def __repr__(self) -> str:
        return "IdentityKey(<private>)"


def verify(public: bytes, signature: bytes, purpose: str, *parts: bytes) -> bool:
    """Whether the holder of a public key signed a purpose and parts."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, digest(purpose, *parts))
    except (InvalidSignature, ValueError):
        return False
    return True
