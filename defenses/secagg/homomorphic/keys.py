"""Who holds which key of a run, as one file each, so that no file holds more than its reader may.

The key holder makes the keys, once for a run, and gives every client its file and the server the key's name over a
channel that the server cannot read. Invariant: what `HolderKeys.server_file` gives holds no key at all, and what
`HolderKeys.client_file` gives holds the secret key only where clients encrypt with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from defenses.entropy import Entropy
from defenses.errors import FrameError, UserError
from defenses.secagg.homomorphic import engine
from defenses.secagg.homomorphic.engine import Engine
from defenses.secagg.homomorphic.messages import KEY_ID_BYTES
from defenses.secagg.homomorphic.parameters import TABLE, Parameters, Scheme
from defenses.secagg.homomorphic.tags import SEED_BYTES, client_seed, shared_seed
from defenses.session import pack_state, reading_state, unpack_state

KEY_HOLDER = 0xFFFF_FFFE
"""The participant number of the key holder; no client may have it."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ServerKeys:
    """What the server has: a name to tell uploads of this run from others, and nothing that opens them.

    Attributes:
        scheme: which encryption.
        key_id: names the keys.
    """

    scheme: Scheme
    key_id: bytes
    _ROLE = "homomorphic server file"

    def save(self) -> bytes:
        """The file's content; public."""
        return pack_state({"role": self._ROLE, "scheme": str(self.scheme)}, [self.key_id])

    @classmethod
    @reading_state
    def load(cls, data: bytes) -> ServerKeys:
        """The inverse of `save`."""
        facts, (key_id,) = _unpack(data, cls._ROLE, (KEY_ID_BYTES,))
        return cls(Scheme(facts["scheme"]), key_id)

    def __repr__(self) -> str:
        return f"ServerKeys({self.scheme}, key {self.key_id.hex()})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ClientKeys:
    """What one client has.

    Attributes:
        scheme: which encryption.
        key_id: names the keys.
        client: the client's number.
        encrypts: the public key, or the secret one in symmetric mode.
        shared: seed of the tags that all clients know.
        own: seed of the tags that only this client and the key holder know.
    """

    scheme: Scheme
    key_id: bytes
    client: int
    encrypts: bytes
    shared: bytes
    own: bytes
    _ROLE = "homomorphic client file"

    @property
    def parameters(self) -> Parameters:
        """The scheme's row of the table."""
        return TABLE[self.scheme]

    def engine(self) -> Engine:
        """Encrypts."""
        return _engine(self.scheme, self.encrypts)

    def save(self) -> bytes:
        """The file's content; private to this client."""
        facts = {"role": self._ROLE, "scheme": str(self.scheme), "client": self.client}
        return pack_state(facts, [self.key_id, self.shared, self.own, self.encrypts])

    @classmethod
    @reading_state
    def load(cls, data: bytes) -> ClientKeys:
        """The inverse of `save`."""
        facts, (key_id, shared, own, encrypts) = _unpack(
            data, cls._ROLE, (KEY_ID_BYTES, SEED_BYTES, SEED_BYTES, None)
        )
        return cls(Scheme(facts["scheme"]), key_id, int(facts["client"]), encrypts, shared, own)

    def __repr__(self) -> str:
        return f"ClientKeys({self.scheme}, key {self.key_id.hex()}, client {self.client}, <keys not shown>)"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HolderKeys:
    """Everything; make it with `generate`, on the key holder's machine.

    Attributes:
        scheme: which encryption.
        key_id: names the keys.
        encrypts: what clients get.
        decrypts: the secret key.
        master: from which the clients' seeds are made.
    """

    scheme: Scheme
    key_id: bytes
    encrypts: bytes
    decrypts: bytes
    master: bytes
    _ROLE = "homomorphic key holder file"

    @classmethod
    def generate(
        cls, scheme: Scheme, entropy: Entropy, *, encryption: Literal["public", "symmetric"] = "public"
    ) -> HolderKeys:
        """Fresh keys; the library draws the encryption keys from the system, the seeds come from ``entropy``."""
        encrypts, decrypts = engine.generate(TABLE[scheme], symmetric=encryption == "symmetric")
        return cls(scheme, entropy.bytes(KEY_ID_BYTES), encrypts, decrypts, entropy.bytes(SEED_BYTES))

    @property
    def parameters(self) -> Parameters:
        """The scheme's row of the table."""
        return TABLE[self.scheme]

    def engine(self) -> Engine:
        """Decrypts."""
        return _engine(self.scheme, self.decrypts)

    def server_file(self) -> ServerKeys:
        """What the server may have."""
        return ServerKeys(self.scheme, self.key_id)

    def client_file(self, client: int) -> ClientKeys:
        """What one client may have."""
        if not 0 <= client < KEY_HOLDER:
            raise UserError(f"client number is {client}", f"number clients from 0 to {KEY_HOLDER - 1}")
        shared, own = shared_seed(self.master), client_seed(self.master, client)
        return ClientKeys(self.scheme, self.key_id, client, self.encrypts, shared, own)

    def save(self) -> bytes:
        """The file's content; whoever reads it can decrypt every upload."""
        facts = {"role": self._ROLE, "scheme": str(self.scheme)}
        return pack_state(facts, [self.key_id, self.master, self.encrypts, self.decrypts])

    @classmethod
    @reading_state
    def load(cls, data: bytes) -> HolderKeys:
        """The inverse of `save`."""
        facts, (key_id, master, encrypts, decrypts) = _unpack(
            data, cls._ROLE, (KEY_ID_BYTES, SEED_BYTES, None, None)
        )
        return cls(Scheme(facts["scheme"]), key_id, encrypts, decrypts, master)

    def __repr__(self) -> str:
        return f"HolderKeys({self.scheme}, key {self.key_id.hex()}, <keys not shown>)"


@lru_cache(maxsize=8)
def _engine(scheme: Scheme, keys: bytes) -> Engine:
    # Reading a key costs more than a small upload, and a simulation's clients share one.
    return Engine(TABLE[scheme], keys)


def _unpack(data: bytes, role: str, sizes: tuple[int | None, ...]) -> tuple[dict[str, str], list[bytes]]:
    facts, parts = unpack_state(data, role)
    fits = len(parts) == len(sizes) and all(
        size in (None, len(part)) for part, size in zip(parts, sizes, strict=False)
    )
    if not fits:
        raise FrameError(f"{role} does not hold what it should", "use the file as it was made")
    return facts, parts
