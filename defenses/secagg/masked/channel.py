"""Shares sealed from one client to another, so that the server which carries them cannot read or change them.

Invariant: a sealing key serves one direction of one pair in one round and seals one message, so its fixed
nonce is never used twice; the associated data name the round and both ends, so that a message opens nowhere
but where it was meant to.

Reference: AES-GCM: NIST SP 800-38D; Bonawitz et al., CCS 2017, figure 4, round 1.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from defenses.errors import ProtocolError
from defenses.secagg.masked.keys import DOMAIN, AgreementKey, derive

TAG_BYTES = 16
_NONCE = bytes(12)


def seal(
    mine: AgreementKey, public: bytes, binding: bytes, sender: int, recipient: int, plain: bytes
) -> bytes:
    """Bytes that only the recipient opens, 16 longer than the plain ones.

    Args:
        mine: the sender's channel key.
        public: the recipient's channel key.
        binding: the round, as 32 bytes.
        sender: number of the client.
        recipient: number of the client.
        plain: what to seal.
    """
    key = derive(mine.agree(public), binding, "channel", sender, recipient)
    return AESGCM(key).encrypt(_NONCE, plain, _associated(binding, sender, recipient))


def unseal(
    mine: AgreementKey, public: bytes, binding: bytes, sender: int, recipient: int, sealed: bytes
) -> bytes:
    """What `seal` was given; `mine` is the recipient's key and `public` the sender's.

    Raises:
        ProtocolError: somebody else sealed it, for somebody else, in another round, or it was changed.
    """
    key = derive(mine.agree(public), binding, "channel", sender, recipient)
    try:
        return AESGCM(key).decrypt(_NONCE, sealed, _associated(binding, sender, recipient))
    except InvalidTag as error:
        raise ProtocolError(f"sealed shares from client {sender} do not open") from error


def _associated(binding: bytes, sender: int, recipient: int) -> bytes:
    numbers = sender.to_bytes(4, "little") + recipient.to_bytes(4, "little")
    return DOMAIN + b"sealed shares|" + binding + numbers
