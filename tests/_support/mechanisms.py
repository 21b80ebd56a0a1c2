"""A small clip-and-noise mechanism that is right, and the same with one bug each: what an audit must tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from attacks._mechanisms.mechanism import Claim, Floats
from attacks._statistics.gaussian import epsilon_of
from defenses.entropy import Entropy, InsecureSeeded

CLIP, DELTA = 1.0, 1e-5
BUGS = (
    "noise halved",
    "clip missing",
    "clip by block",
    "seed reused",
    "rounds share a seed",
    "clients share a seed",
    "share left out",
    "count released",
    "one round more",
    "one block without noise",
)


@dataclass(frozen=True)
class ClippedSum:
    """Sums of clipped records with distributed Gaussian noise: each client adds its share.

    ``multiplier`` is the standard deviation of the whole noise over the clip.
    """

    multiplier: float = 1.0
    rounds: int = 1
    bug: str = ""

    @property
    def claim(self) -> Claim:
        mu = np.sqrt(self.rounds) / self.multiplier
        return Claim(epsilon_of(mu, DELTA), DELTA, CLIP, self.multiplier * CLIP, rounds=self.rounds)

    def __call__(self, records: Sequence[Floats], entropy: Entropy) -> list[dict[str, Floats]]:
        rounds = self.rounds + (self.bug == "one round more")
        return [self._round(records, entropy, number) for number in range(rounds)]

    def _round(self, records: Sequence[Floats], entropy: Entropy, number: int) -> dict[str, Floats]:
        shape = records[0].shape[1:]
        total = np.zeros(shape)
        label = "all" if self.bug == "rounds share a seed" else str(number)
        for client, held in enumerate(records):
            total += self._clip(held).sum(axis=0)
            if self.bug == "share left out" and client == 0:
                continue
            who = 0 if self.bug == "clients share a seed" else client
            source = InsecureSeeded(5) if self.bug == "seed reused" else entropy
            noise = normal(source.branch(f"{label}/{who}"), total.size).reshape(shape)
            if self.bug == "one block without noise":
                noise[0] = 0
            factor = 0.5 if self.bug == "noise halved" else 1.0
            total += factor * self.multiplier * CLIP / np.sqrt(len(records)) * noise
        if self.bug == "count released":
            return {"sum": total, "count": np.array(float(sum(map(len, records))))}
        return {"sum": total}

    def _clip(self, held: Floats) -> Floats:
        if self.bug == "clip missing":
            return held
        axes = tuple(range(2, held.ndim)) if self.bug == "clip by block" else tuple(range(1, held.ndim))
        norms = np.sqrt((held**2).sum(axis=axes, keepdims=True))
        clipped: Floats = held * np.minimum(1, CLIP / np.maximum(norms, 1e-300))
        return clipped


def normal(entropy: Entropy, size: int) -> Floats:
    """Normal numbers from an entropy's bytes."""
    words = np.frombuffer(entropy.bytes(8 * size), dtype=np.uint64)
    drawn: Floats = ndtri(((words >> np.uint64(11)) + 0.5) / 2.0**53)
    return drawn


def base(clients: int = 3, examples: int = 4, shape: tuple[int, ...] = (4, 8), seed: int = 0) -> list[Floats]:
    rng = np.random.default_rng(seed)
    return [0.1 * rng.normal(size=(examples, *shape)) for _ in range(clients)]


def named() -> ClippedSum:
    """For the command line: a sound mechanism, found by name."""
    return ClippedSum()


def released(records: Sequence[Floats], entropy: Entropy) -> list[dict[str, Floats]]:
    """For the command line: `ClippedSum()`, as a plain function."""
    return ClippedSum()(records, entropy)


def halved(records: Sequence[Floats], entropy: Entropy) -> list[dict[str, Floats]]:
    """For the command line: the same with half the noise."""
    return ClippedSum(bug="noise halved")(records, entropy)


# For the command line: each bug by name, with underscores for spaces.
globals().update({bug.replace(" ", "_"): ClippedSum(bug=bug) for bug in BUGS})
