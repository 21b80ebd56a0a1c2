"""The only file that speaks to TenSEAL: whole numbers in, ciphertexts out, and back where there is a key.

Clients encrypt with it and the key holder decrypts; the server adds without it (`ciphertext`).

TenSEAL (and SEAL beneath it) draws its own randomness from the system; no seed reaches it, so the ciphertexts of
a simulation differ from run to run, and the sums do not.

Invariant: what reaches the library's reader is what the library itself could have written, with coefficients that were
checked; and nothing that decrypts is kept by an engine that was not given a secret key.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from defenses.errors import FrameError, UserError
from defenses.secagg.homomorphic.ciphertext import pack, unpack
from defenses.secagg.homomorphic.envelope import unwrap, wrap
from defenses.secagg.homomorphic.parameters import TAG_MODULUS, Parameters, Scheme


def tenseal() -> Any:
    """The library, imported on first use.

    Raises:
        UserError: it is not installed.
    """
    return _library("tenseal")


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"defense.kind needs the library {name}, which is not installed", "install ifedpriv[he]"
        ) from error


def generate(parameters: Parameters, *, symmetric: bool) -> tuple[bytes, bytes]:
    """A fresh key pair.

    Args:
        parameters: a row of the table.
        symmetric: clients will encrypt under the secret key, and there is no public one.

    Returns:
        What encrypts, and what decrypts, as TenSEAL's own bytes; the same bytes where symmetric.
    """
    ts = tenseal()
    kind = ts.ENCRYPTION_TYPE.SYMMETRIC if symmetric else ts.ENCRYPTION_TYPE.ASYMMETRIC
    context = _context(parameters, kind)
    secret = context.data.serialize(False, True, False, False)
    return (secret if symmetric else context.data.serialize(True, False, False, False)), secret


def _context(parameters: Parameters, kind: Any = None) -> Any:
    ts = tenseal()
    scheme, plain = (
        (ts.SCHEME_TYPE.CKKS, None) if parameters.scheme is Scheme.CKKS else (ts.SCHEME_TYPE.BFV, TAG_MODULUS)
    )
    kind = ts.ENCRYPTION_TYPE.ASYMMETRIC if kind is None else kind
    context = ts.context(
        scheme, parameters.degree, plain, list(parameters.prime_bits), encryption_type=kind, n_threads=1
    )
    if parameters.scheme is Scheme.CKKS:
        context.global_scale = float(parameters.scale)
    return context


class Engine:
    """Encrypts, adds and decrypts, as far as its keys allow.

    Args:
        parameters: a row of the table.
        keys: what `generate` gave.
    """

    def __init__(self, parameters: Parameters, keys: bytes) -> None:
        self.parameters = parameters
        self._ts, self._zstandard = tenseal(), _library("zstandard")
        header = importlib.import_module("tenseal.sealapi").Serialization.SEALHeader()
        self._seal = (int(header.version_major), int(header.version_minor))
        try:
            self._context = self._ts.context_from(keys, 1)
        except (RuntimeError, ValueError, TypeError) as error:
            raise UserError("key file holds no keys of this library", "use it as it was made") from error

    def encrypt(self, numbers: npt.NDArray[np.int64]) -> list[bytes]:
        """One ciphertext for each ``slots`` numbers, the last one filled up with zeros.

        Args:
            numbers: [n], within the parameters' capacity, or for BFV any residues of the plain modulus.
        """
        return [self.dump(vector) for vector in self.encrypt_vectors(numbers)]

    def encrypt_vectors(self, numbers: npt.NDArray[np.int64]) -> list[Any]:
        """As `encrypt`, not yet in bytes."""
        slots = self.parameters.slots
        if self.parameters.scheme is Scheme.BFV:
            numbers = self._centred(numbers)
        padded = np.zeros(-(-len(numbers) // slots) * slots, dtype=np.int64)
        padded[: len(numbers)] = numbers
        return [self._vector(row) for row in padded.reshape(-1, slots)]

    def _vector(self, numbers: npt.NDArray[np.int64]) -> Any:
        if self.parameters.scheme is Scheme.CKKS:
            return self._ts.ckks_vector(self._context, _row()(numbers.astype(np.float64).tolist()))
        return self._ts.bfv_vector(self._context, _row()(numbers.tolist()))

    def dump(self, vector: Any) -> bytes:
        """A ciphertext's bytes."""
        found = unwrap(vector.serialize(), self.parameters, self._seal, self._zstandard)
        return pack(found, self.parameters)

    def load(self, data: bytes | memoryview) -> Any:
        """A ciphertext from its bytes.

        Raises:
            FrameError: it is none of these parameters.
        """
        whole = wrap(unpack(data, self.parameters), self.parameters, self._seal)
        if self.parameters.scheme is Scheme.CKKS:
            return self._ts.ckks_vector_from(self._context, whole)
        return self._ts.bfv_vector_from(self._context, whole)

    def decrypt(self, ciphertexts: Sequence[Any]) -> npt.NDArray[np.int64]:
        """The whole numbers in every slot, in order.

        CKKS gives numbers with noise. They are rounded to whole ones here and leave in no other form: the noise
        depends on the key, and a few hundred noisy decryptions give it away (Li and Micciancio, "On the Security
        of Homomorphic Encryption on Approximate Numbers", EUROCRYPT 2021).

        Raises:
            UserError: this engine has no secret key.
            FrameError: what decrypts is not whole numbers within capacity, so no uploads add up to it.
        """
        if not self._context.has_secret_key():
            raise UserError("keys of this party cannot decrypt", "only the key holder decrypts")
        slots = [np.asarray(vector.decrypt()) for vector in ciphertexts]
        found = np.concatenate(slots) if slots else np.zeros(0)
        if self.parameters.scheme is Scheme.BFV:
            return self._centred(found.astype(np.int64))
        capacity = self.parameters.capacity
        rounded = np.rint(found)
        if not (np.isfinite(found).all() and (np.abs(rounded) <= capacity).all()):
            raise FrameError("ciphertext decrypts to no sum of uploads", "use the same keys on every end")
        if (np.abs(found - rounded) > _FARTHEST).any():
            raise FrameError("ciphertext decrypts to no whole numbers", "use the same keys on every end")
        return rounded.astype(np.int64)

    def _centred(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        residues = numbers % TAG_MODULUS
        return np.where(residues > self.parameters.capacity, residues - TAG_MODULUS, residues)

    def __repr__(self) -> str:
        return f"Engine({self.parameters.scheme}, <keys not shown>)"


_FARTHEST = 0.375
"""Noise of an honest sum of 1024 uploads is 0.03 at one standard deviation; beyond 12 of them it is a forgery."""


@lru_cache(maxsize=1)
def _row() -> Any:
    """A plain tensor of one row that hands on its list as it is.

    The library's own makes an array of it, a list of that, and a copy of that list: a third of the time that
    encrypting takes.
    """

    class Row(tenseal().PlainTensor):  # type: ignore[misc]
        def __init__(self, numbers: list[int] | list[float]) -> None:
            self._numbers = numbers

        @property
        def shape(self) -> list[int]:
            return [len(self._numbers)]

        @property
        def raw(self) -> list[int] | list[float]:
            return self._numbers

    return Row
