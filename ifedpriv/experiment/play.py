"""The rounds of an experiment, played in memory: what the run itself, its controls and every sweep have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from defenses.ledger import Ledger, PublicDeclaration
from defenses.view import ServerViewWriter
from ifedpriv.experiment.facts import task_hash
from ifedpriv.experiment.prepare import Setup
from ifedpriv.federation.cohort import Cohort
from ifedpriv.federation.federation import Federation, Intend
from ifedpriv.methods.method import State

Report = Callable[[str, int, int], None]
"""Progress: what is being done, how much of it is done, and how much there is."""


def play(setup: Setup, report: Report = lambda *_: None, *, until: int | None = None) -> tuple[State, Ledger]:
    """Play rounds in memory, with nothing recorded, tested or written.

    Args:
        setup: the experiment's parts.
        report: told of progress.
        until: the round to stop before; None for all.

    Returns:
        The last state, and what was released on the way.
    """
    last = setup.method.rounds if until is None else until
    ledger = first_ledger(setup)
    federation = federation_of(setup, ledger)
    state = setup.method.initial_state()
    while state.round < last:
        report("rounds", state.round, last)
        state, _ = federation.play_round(state)
    return state, ledger


def federation_of(
    setup: Setup,
    ledger: Ledger,
    view: ServerViewWriter | None = None,
    queries: Callable[[], int] | None = None,
    intend: Intend | None = None,
) -> Federation:
    """Server and clients of an experiment.

    Args:
        setup: the experiment's parts.
        ledger: is told of every release.
        view: records every frame, where given.
        queries: how many sequences have gone through the model, where somebody counts.
        intend: is told what each round is about to release, where given.
    """
    return Federation(
        setup.method,
        setup.defense,
        setup.clients,
        Cohort(setup.config.cohort, setup.config.seed),
        entropy=setup.entropy,
        ledger=ledger,
        seed=setup.config.seed,
        view=view,
        agreed=agreed(setup),
        queries=queries,
        intend=intend,
    )


def first_ledger(setup: Setup) -> Ledger:
    """What is public before the first round."""
    ledger = Ledger(simulation=setup.config.simulation)
    for what, why in (
        ("the backbone, the template and the label words", "agreed before any private text was read"),
        ("how many rounds, steps and examples a step there are", "fixed in the configuration"),
    ):
        ledger.add(PublicDeclaration(what, why))
    for declaration in setup.declarations:
        ledger.add(declaration)
    return ledger


def agreed(setup: Setup) -> bytes:
    """What every end of the run has from its configuration: model, template, method and rounds."""
    facts = [setup.backbone.fingerprint, task_hash(setup.data.task), setup.config.method.model_dump_json()]
    if setup.public is not None:
        facts.append(setup.public.public.digest)
    return hashlib.sha256("\n".join(facts).encode()).digest()
