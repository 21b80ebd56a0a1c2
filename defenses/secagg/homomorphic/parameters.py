"""The table of encryption parameters, and the proof that a round's sums fit in them.

Both rows are for sums only: no multiplication between ciphertexts, so one prime carries the data. The second
prime is there because the library wants one for switching keys; it also takes most of the noise out of a
public-key encryption, which is made under both primes and divided by the second.

Security. Albrecht et al., "Homomorphic Encryption Security Standard" (HomomorphicEncryption.org, 2018), table 1,
uniform ternary secret: at degree 4096, all primes together may have up to 109 bits for 128-bit security against
known classical attacks, and 101 bits (table 2) against quantum ones.

Noise. The standard deviation of one coefficient of a fresh public-key ciphertext, after the division, is about
sqrt(4096/18) = 15 and of a symmetric one 3.2. A sum of 1024 has 1024^(1/2) times that, 480. BFV decrypts rightly
while noise stays below q/(2t) = 2^13, 17 standard deviations. A CKKS slot has sqrt(4096) times a coefficient's
noise, 2^14.9 for 1024 uploads, and rounds to the right whole number below half the scale, 2^19: also 17. The
chance that one of 2^18 slots fails is below 2^-180.

Invariant: every row has at least 128-bit security, and a grid that `check` lets pass has sums that decrypt
exactly, whichever of the two schemes carries them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from defenses.errors import UserError
from defenses.grid import Grid

MAX_CLIENTS = 1024
"""The most summands for which the noise bounds above hold."""

TAGS = 4
"""Tags in every upload; a forged sum passes all of them with chance (2 / TAG_MODULUS)^4."""

TAG_MODULUS = 17_179_754_497
"""Tags are modulo this: the largest prime below 2^34 that is 1 modulo 8192. So it can also be BFV's plain modulus, with
4096 numbers in one polynomial; and it is above the distance of any two sums that fit in a slot."""

LIMB_BITS = 17
"""Where a slot is too small for the sum of all clients' tags, a tag travels as two limbs of so many bits."""


class Scheme(StrEnum):
    """Which encryption."""

    CKKS = "ckks"
    BFV = "bfv"


@dataclass(frozen=True, slots=True)
class Parameters:
    """One row of the table.

    Attributes:
        scheme: which encryption.
        degree: of the ring's polynomial.
        prime_bits: sizes of the ciphertext primes; the last one is not in a ciphertext.
        prime: the one that is, as the library finds it: 1 modulo twice the degree.
        slots: numbers in one ciphertext.
        capacity: the largest magnitude that a slot of a sum carries exactly.
        tag_limbs: slots for each tag: one where slots are modulo `TAG_MODULUS` themselves, else two.
        scale: CKKS only: what a number is multiplied with before it is rounded and encrypted; 0 for BFV.
        security_bits: against known classical attacks.
        standard_bits: the most bits that all primes together may have for that, by the standard's table.
    """

    scheme: Scheme
    degree: int
    prime_bits: tuple[int, ...]
    prime: int
    slots: int
    capacity: int
    tag_limbs: int
    scale: int
    security_bits: int
    standard_bits: int

    @property
    def check_slots(self) -> int:
        """Slots that the tags of an upload or a sum take."""
        return TAGS * self.tag_limbs

    def ciphertexts(self, numbers: int) -> int:
        """How many ciphertexts carry so many numbers and the tags."""
        return -(-(numbers + self.check_slots) // self.slots)

    def check(self, grid: Grid) -> None:
        """Refuse a grid whose sums could leave a slot, or more clients than the noise bounds allow.

        Raises:
            UserError: naming the bound to change.
        """
        if grid.clients > MAX_CLIENTS:
            raise UserError(
                f"round.roster has {grid.clients} clients, and {self.scheme} sums at most {MAX_CLIENTS}",
                "ask fewer clients",
            )
        grid.check_sum_fits(self.capacity, f"a slot of {self.scheme}")


TABLE = {
    Scheme.CKKS: Parameters(
        scheme=Scheme.CKKS,
        degree=4096,
        prime_bits=(52, 52),
        prime=4_503_599_627_124_737,
        slots=2048,
        # capacity * scale = 2^50 leaves a bit below q/2 = 2^51 for noise and for the encoder's float64.
        capacity=2**30,
        tag_limbs=2,
        scale=2**20,
        security_bits=128,
        standard_bits=109,
    ),
    Scheme.BFV: Parameters(
        scheme=Scheme.BFV,
        degree=4096,
        prime_bits=(48, 48),
        prime=281_474_976_636_929,
        slots=4096,
        capacity=(TAG_MODULUS - 1) // 2,
        tag_limbs=1,
        scale=0,
        security_bits=128,
        standard_bits=109,
    ),
}
"""The parameters of each scheme."""
