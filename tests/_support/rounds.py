"""Federations in this process: clients in lists, wires of any precision, and a pool that spies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiny import examples, task, tiny_backbone

from defenses.codec import Precision
from defenses.defense import Defense
from defenses.entropy import InsecureSeeded
from defenses.ledger import Ledger
from defenses.specs import ClearSpec, DefenseSpec, WireSpec
from defenses.view import ServerViewWriter
from ifedpriv.experiment.pool import Clients
from ifedpriv.federation.cohort import Cohort, CohortSpec
from ifedpriv.federation.federation import Federation, RoundRecord
from ifedpriv.methods.ifed_icl import IfedIcl
from ifedpriv.methods.method import Client, State
from ifedpriv.methods.specs import CalibrationSpec, IfedIclSpec

EXACT = ClearSpec(wire=WireSpec(vector=Precision.FP32, coefficients=Precision.FP32, scores=Precision.FP32))
STEPS = CalibrationSpec(rounds=2, steps=2, batch_size=4)


class Spying(Clients):
    """A pool that remembers whose data was asked for."""

    asked: list[int]

    def __init__(self, clients: Sequence[Client], takes_part: Any) -> None:
        super().__init__(clients, takes_part)
        self.asked = []

    def __getitem__(self, number: int) -> Client:
        self.asked.append(number)
        return super().__getitem__(number)


def clients(*sizes: int, held_out: int = 0) -> tuple[Client, ...]:
    """Clients with so many examples each, of both classes, and some held out."""
    return tuple(
        Client(number, examples(size, 10 + number), examples(held_out, 50 + number))
        for number, size in enumerate(sizes)
    )


def federation(
    who: Sequence[Client],
    *,
    defense: DefenseSpec = EXACT,
    cohort: CohortSpec | Cohort = CohortSpec(),  # noqa: B008 (frozen)
    seed: int = 0,
    view: ServerViewWriter | None = None,
    **spec: Any,
) -> Federation:
    """A federation of the tiny task; ``spec`` holds fields of the method's."""
    method = IfedIcl(IfedIclSpec(**{"calibration": STEPS, "guard": False, **spec}), tiny_backbone(), task())
    return Federation(
        method,
        Defense.from_spec(defense),
        Spying(who, method.takes_part),
        cohort if not isinstance(cohort, CohortSpec) else Cohort(cohort, seed),
        entropy=InsecureSeeded(seed, "test"),
        ledger=Ledger(simulation=True),
        seed=seed,
        view=view,
    )


def play(fed: Federation, rounds: int | None = None) -> tuple[State, list[RoundRecord]]:
    """Play from the beginning, to the end or so many rounds."""
    state, records = fed.method.initial_state(), []
    for _ in range(fed.method.rounds if rounds is None else rounds):
        state, record = fed.play_round(state)
        records.append(record)
    return state, records


def recording(folder: Path, defense: DefenseSpec = EXACT) -> ServerViewWriter:
    return ServerViewWriter.create(folder, backbone="b", task="t", defense=defense)


class Failing:
    """A cohort in which the named clients fail in the named rounds; everybody is asked."""

    def __init__(self, failures: dict[int, set[int]]) -> None:
        self.failures = failures

    def invited(self, _number: int, eligible: tuple[int, ...]) -> tuple[int, ...]:
        return eligible

    def fails(self, number: int, client: int) -> bool:
        return client in self.failures.get(number, set())

    def frames_before_failing(self, _number: int, _client: int, _exchanges: int) -> int:
        return 0
