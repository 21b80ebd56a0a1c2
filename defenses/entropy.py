"""Where randomness comes from, so that a secure source is the default and a seeded one cannot hide.

Invariant: nothing else in this package asks the machine for randomness, and whoever was given a source can
ask it whether it protects anybody.
"""

from __future__ import annotations

import builtins
import hashlib
import os
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from defenses.errors import UserError

_BLOCK = 4096
_LONG = 4096
"""From so many bytes on a secure draw is expanded from a key: the system's generator takes ten times as long."""


class Entropy(Protocol):
    """A source of random bytes."""

    @property
    def simulation(self) -> bool:
        """True where the bytes can be foretold, so that nothing made with them protects anybody."""
        ...

    def bytes(self, n: int) -> builtins.bytes:
        """The next ``n`` bytes."""
        ...

    def branch(self, label: str) -> Entropy:
        """A source for one use: bytes drawn from it depend on no other use, so that a resumed run repeats them."""
        ...


def _checked(n: int) -> int:
    if n < 0:
        raise UserError(f"entropy was asked for {n} bytes", "ask for none or more")
    return n


class SecureEntropy:
    """The operating system's generator; the default everywhere.

    A long draw is the AES-256-CTR keystream under a key that the system gives for this draw and that is then
    forgotten (NIST SP 800-90A builds its CTR_DRBG in the same way), so every draw has 256 bits of strength.
    """

    simulation = False

    def bytes(self, n: int) -> builtins.bytes:
        """The next ``n`` bytes, which nobody can foretell or repeat."""
        if _checked(n) < _LONG:
            return os.urandom(n)
        return Cipher(algorithms.AES(os.urandom(32)), modes.CTR(bytes(16))).encryptor().update(bytes(n))

    def branch(self, label: str) -> SecureEntropy:
        """The same source, since nothing of it can be repeated."""
        return self

    def __repr__(self) -> str:
        return "SecureEntropy()"


class InsecureSeeded:
    """A repeatable stream for simulations: anybody who knows the seed knows every byte.

    The stream is SHAKE-256 in counter mode; how it is cut into calls does not change it.

    Args:
        seed: the run's seed; any integer.
        label: separates streams of one seed (one per client, say).
    """

    simulation = True

    def __init__(self, seed: int, label: str = "") -> None:
        self._seed, self._label = seed, label
        self._prefix = f"ifedpriv insecure seeded 1|{seed}|{label}|".encode()
        self._next_block = 0
        self._buffer = b""

    def bytes(self, n: int) -> builtins.bytes:
        """The next ``n`` bytes of the stream."""
        parts, have = [self._buffer], len(self._buffer)
        while have < _checked(n):
            parts.append(hashlib.shake_256(self._prefix + str(self._next_block).encode()).digest(_BLOCK))
            self._next_block += 1
            have += _BLOCK
        stream = b"".join(parts)
        self._buffer = stream[n:]
        return stream[:n]

    def branch(self, label: str) -> InsecureSeeded:
        """The stream of the same seed under a longer label, from its beginning."""
        return InsecureSeeded(self._seed, f"{self._label}/{label}")

    def __repr__(self) -> str:
        return "InsecureSeeded(<simulation only>)"
