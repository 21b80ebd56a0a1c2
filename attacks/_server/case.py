"""What an attack by the server is, what can come of it, and how that is found out.

Invariant: an attack says what it got, never how it is to be called; and the ends that it is tried on come in a `Build`,
so that the very same attack is tried on what is shipped and on what is weakened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from attacks._server.build import AS_SHIPPED, Build
from defenses.errors import IfedprivError


class Lane(StrEnum):
    """Which way of summing is attacked."""

    MASKED = "masked"
    RATCHET = "ratchet"
    BFV = "bfv"
    CKKS = "ckks"


class Verdict(StrEnum):
    """What came of an attack.

    REFUSED: an end said no, and the attack got nothing. HARMLESS: nobody had to say no: the attack got nothing, or
    the sum stayed exact. LEARNED: it got something about one client. SPOILED: a false sum passed for a true one, or
    somebody honest was blamed.
    """

    REFUSED = "refused"
    HARMLESS = "harmless"
    LEARNED = "learned"
    SPOILED = "spoiled"

    @property
    def held(self) -> bool:
        """Whether the build withstood."""
        return self in (Verdict.REFUSED, Verdict.HARMLESS)


@dataclass(frozen=True, slots=True)
class Found:
    """What an attack that ran to its end got.

    Attributes:
        verdict: `HARMLESS`, `LEARNED` or `SPOILED`.
        what: in words, without any number of a client.
    """

    verdict: Verdict
    what: str


@dataclass(frozen=True, slots=True)
class Case:
    """One attack in one lane.

    Attributes:
        name: as auditors call it.
        lane: what it is tried on.
        does: what the cheating party does, in a sentence.
        attack: plays it against a build; whatever error an end raises goes through.
        weakened: builds that lack what stops it.
        limits: for what no protocol of this kind stops: what limits it in its stead. Empty for all others.
    """

    name: str
    lane: Lane
    does: str
    attack: Callable[[Build], Found]
    weakened: tuple[Build, ...] = ()
    limits: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """An attack on one build, and what came of it.

    Attributes:
        build: the build's name.
        verdict: what it came to.
        answer: the refusal's one sentence, or what was got.
    """

    build: str
    verdict: Verdict
    answer: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a case.

    Attributes:
        case: the case.
        trial: on what is shipped.
        weakened: on each build that lacks something.
    """

    case: Case
    trial: Trial
    weakened: tuple[Trial, ...]

    @property
    def proved(self) -> bool:
        """Whether the attack works where it should, so that a refusal means something."""
        return all(not trial.verdict.held for trial in self.weakened)


def attempt(case: Case, build: Build) -> Trial:
    """Try an attack on a build; an error of ours is a refusal, every other error is a fault and goes through."""
    try:
        found = case.attack(build)
    except IfedprivError as error:
        return Trial(build.name, Verdict.REFUSED, error.message)
    return Trial(build.name, found.verdict, found.what)


def play(case: Case) -> Result:
    """Try an attack on what is shipped, and on every build that is weakened for it."""
    return Result(case, attempt(case, AS_SHIPPED), tuple(attempt(case, build) for build in case.weakened))


def learned(got: bool, what: str, otherwise: str) -> Found:
    """`LEARNED` if the attack got what it wanted, else `HARMLESS`."""
    return Found(Verdict.LEARNED, what) if got else Found(Verdict.HARMLESS, otherwise)
