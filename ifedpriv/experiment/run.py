"""One experiment: rounds, comparisons, report; resumable at any moment with the same numbers.

The invariant: every number of a simulation is a function of the configuration. Rounds draw from seed, round and client;
finished rounds are in the checkpoint and finished comparisons beside it, so a resumed run repeats nothing and
differs in nothing but the clock. A real run with privacy cannot draw the same noise again: what it sends is written
down before it is sent, and a round that it was interrupted in is charged when it goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from defenses.ledger import Ledger
from defenses.upload import UploadKind
from defenses.view import ServerViewWriter
from ifedpriv.backbone.count import counted
from ifedpriv.errors import UserError
from ifedpriv.experiment import control_plan, controls, membership
from ifedpriv.experiment.comparisons import Job, jobs, on_validation, server_queries, stood_in, together
from ifedpriv.experiment.facts import guard_facts, task_facts, task_hash
from ifedpriv.experiment.figures import figures, primary_metric
from ifedpriv.experiment.intents import Intents, charge_interrupted, interrupted_rounds
from ifedpriv.experiment.play import Report, federation_of, first_ledger, play
from ifedpriv.experiment.prepare import Setup
from ifedpriv.experiment.privacy import rings_in
from ifedpriv.experiment.public_start import declared
from ifedpriv.experiment.rundir import RunDirectory, fresh_path
from ifedpriv.federation.federation import Federation, RoundRecord
from ifedpriv.federation.traffic import Traffic
from ifedpriv.icl.evaluate import Answers
from ifedpriv.methods.fed_lora import FedLora
from ifedpriv.methods.ficpd import Ficpd
from ifedpriv.methods.method import Artifact, State
from ifedpriv.methods.prototype_icl import PrototypeIcl


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A finished experiment.

    Attributes:
        setup: what it was made of.
        state: after the last round.
        injection: the artifact (an injection, an adapter or a library of prompts), with its privacy statement.
        ledger: what was released.
        rounds: the lines of ``rounds.jsonl``.
        rows: comparison name to lists of answers and seconds of client time.
        up, down: bytes by client over all rounds.
        membership: losses of training and test examples with the artifact on, by `membership.losses`; None where that
            was not asked for.
        seconds: wall time of rounds and comparisons, of all processes that worked on this run.
        started: when the first of those processes began, as ISO 8601.
    """

    setup: Setup
    state: State
    injection: Artifact
    ledger: Ledger
    rounds: list[dict[str, Any]]
    rows: dict[str, Comparison]
    up: Traffic
    down: Traffic
    membership: dict[str, Any] | None
    seconds: float
    started: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Answers of one line of the table: one list, or one for each client.

    Attributes:
        lists: the answers.
        client_seconds: what a client spends on getting ready, mean over clients; None where no client does.
        note: what a reader has to know about the line, where it follows from how it was made.
    """

    lists: tuple[Answers, ...]
    client_seconds: float | None
    note: str = ""


def execute(setup: Setup, run: RunDirectory, report: Report = lambda *_: None) -> Outcome:
    """Run or go on with an experiment to its end.

    Args:
        setup: its parts.
        run: its folder; a checkpoint in it is gone on from.
        report: told of progress.
    """
    started = time.perf_counter()
    # Before the first round: what cannot be had is refused while nothing has been spent.
    made_from = controls.sources(setup)
    saved = run.load_checkpoint()
    if saved is None:
        state, facts = setup.method.initial_state(), _first_facts(setup)
    else:
        state, facts = saved
    rounds = run.cut_rounds(state.round)
    ledger = Ledger.from_json(facts["ledger"])
    _check_begun_with(setup, ledger)
    up, down = Traffic.from_dict(facts["up"]), Traffic.from_dict(facts["down"])
    before = float(facts["seconds"])
    intents = Intents(run.releases) if _real(setup) else None
    settled = facts.get("settled", 0)
    if intents is not None:
        charge_interrupted(intents, settled, ledger)

    def save() -> None:
        counted_too = {} if intents is None else {"settled": intents.count}
        run.save_checkpoint(
            state,
            {
                "ledger": ledger.to_json(),
                "up": up.to_dict(),
                "down": down.to_dict(),
                "seconds": before + time.perf_counter() - started,
                "started": facts["started"],
                **counted_too,
            },
        )

    with _recording(setup, run, state.round) as view, counted(setup.backbone) as queries:
        intend = None if intents is None else intents.write
        federation = federation_of(setup, ledger, view, queries, intend)
        if intents is not None and intents.count > settled:
            # The charge stands whether or not the run goes on.
            save()
        _afford(federation, range(state.round, setup.method.rounds))
        while state.round < setup.method.rounds:
            report("rounds", state.round, setup.method.rounds)
            state, record = federation.play_round(state)
            _add(up, record.up)
            _add(down, record.down)
            line = _line(setup, state, record, ledger)
            run.append_round(line)
            rounds.append(line)
            save()
    statement = setup.defense.statement(ledger)
    said = {
        **task_facts(setup.data.task),
        **guard_facts(setup.method.verdict(state)),
        **_chosen(setup, state),
        **statement.to_metadata(),
    }
    injection = setup.method.artifact(state, said)
    injection.save(_artifact_path(setup, run))
    rows = _compare(run, [*jobs(setup, injection), *_controls(setup, state, made_from, report)], report)
    told = _membership(setup, run, injection)
    seconds = before + time.perf_counter() - started
    return Outcome(setup, state, injection, ledger, rounds, rows, up, down, told, seconds, facts["started"])


def _real(setup: Setup) -> bool:
    """Whether a round that is played again would send other noise, about data that a bound speaks of."""
    return setup.defense.spec.privacy is not None and not setup.config.simulation


def _afford(federation: Federation, rounds: Sequence[int]) -> None:
    """Refuse a run whose budget has no room for all rounds that are left, while none of them has spent anything."""
    beyond = federation.beyond_budget(rounds)
    if beyond is None:
        return
    interrupted = interrupted_rounds(federation.ledger)
    if interrupted:
        which = "round " + " and round ".join(map(str, interrupted))
        raise UserError(
            f"{which} of this run stopped in the middle and counts as spent, since what was sent cannot be taken back: "
            f"with the rounds that are left, {beyond}",
            "begin another run, whose epsilon adds to what this one has spent",
        )
    raise UserError(
        f"this run has no budget for the rounds that are left: {beyond}",
        "put the configuration back as it was when the run began, or begin another run",
    )


def _membership(setup: Setup, run: RunDirectory, injection: Artifact) -> dict[str, Any] | None:
    """What only a simulation can measure, kept like a comparison; None where it is not asked for."""
    if not membership.wanted(setup):
        return None
    kept = run.load_part("membership")
    if kept is None:
        kept = membership.losses(setup, injection)
        run.save_part("membership", kept)
    return kept


def train(setup: Setup) -> tuple[State, Artifact]:
    """What all rounds come to, as `play` plays them; what sweeps and benchmarks need."""
    state, _ = play(setup)
    return state, setup.method.artifact(state, task_facts(setup.data.task))


def _check_begun_with(setup: Setup, ledger: Ledger) -> None:
    """Refuse to go on with other public coefficients, or in other rings, than those that the ledger names."""
    if any(each not in ledger.declarations for each in declared(setup.public)):
        raise UserError(
            "the file of public coefficients is not the one that this run began with",
            "put that one back, or start the run again",
        )
    if rings_in(setup.declarations) != rings_in(ledger.declarations):
        raise UserError(
            "the configuration forms sums in other rings, or with another chance of a wrap, than this run began with",
            "put defense.privacy back as it was, or start the run again",
        )


def _artifact_path(setup: Setup, run: RunDirectory) -> Path:
    match setup.method:
        case FedLora():
            return run.adapter
        case Ficpd():
            return run.library
        case PrototypeIcl():
            return run.prototypes
        case _:
            return run.injection


def _chosen(setup: Setup, state: State) -> dict[str, str]:
    """What travels with an injection about where its coefficients are from."""
    choice = setup.choice(state)
    return {} if choice is None else {"coefficients": choice.sentence()}


def _line(setup: Setup, state: State, record: RoundRecord, ledger: Ledger) -> dict[str, Any]:
    """One line of ``rounds.jsonl``."""
    test = validation = None
    wanted, kind = setup.config.evaluation, setup.data.task.kind
    if record.kind in (UploadKind.COEFFICIENTS, UploadKind.WEIGHTS, UploadKind.PROMPTS):
        artifact = setup.method.artifact(state)
        if wanted.every_round:
            test = figures(kind, together(setup, artifact))[primary_metric(kind)].to_json()
        if wanted.target is not None:
            held = together(on_validation(setup), artifact)
            validation = figures(kind, held)[primary_metric(kind)].to_json()
    up_payload, up_wire = record.up.totals()
    down_payload, down_wire = record.down.totals()
    helpers_payload, helpers_wire = record.helpers.totals()
    return {
        "round": record.round,
        "kind": str(record.kind),
        "loss": record.loss,
        "validation": validation,
        "test": test,
        "up": {"payload": up_payload, "wire": up_wire},
        "down": {"payload": down_payload, "wire": down_wire},
        "helpers": {"payload": helpers_payload, "wire": helpers_wire},
        "seconds": record.seconds,
        "client_seconds": record.client_seconds,
        "took_part": list(record.took_part),
        "dropped": list(record.failed),
        "refusals": list(record.refusals),
        "queries": record.queries,
        "server_queries": server_queries(setup.method, state, record),
        "epsilon": setup.defense.statement(ledger).epsilon if ledger.events else None,
    }


def _compare(run: RunDirectory, jobs: Sequence[Job], report: Report) -> dict[str, Comparison]:
    """Every line of the table; each finished piece is kept, so that a resumed run does not repeat it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for done, (row, part, job) in enumerate(jobs):
        report("comparisons", done, len(jobs))
        kept = run.load_part(part)
        if kept is None:
            kept = job()
            run.save_part(part, kept)
        found.setdefault(row, []).append(kept)
    report("comparisons", len(jobs), len(jobs))
    return {row: _comparison(pieces) for row, pieces in found.items()}


def _comparison(pieces: Sequence[dict[str, Any]]) -> Comparison:
    spent = [piece["client_seconds"] for piece in pieces if piece["client_seconds"] is not None]
    return Comparison(
        tuple(Answers(tuple(piece["truth"]), tuple(piece["predicted"])) for piece in pieces),
        sum(spent) / len(spent) if spent else None,
        next((piece["note"] for piece in pieces if piece.get("note")), ""),
    )


def _controls(
    setup: Setup, state: State, made_from: Mapping[str, controls.Source], report: Report
) -> list[Job]:
    """The pieces of all controls."""

    def made(control: str) -> Artifact:
        vector = controls.stand_in(control, setup, made_from, lambda: controls.vector_in(state))
        stage = f"control {control.replace('_', ' ')}"
        other = controls.calibrated(
            setup, vector, lambda _, done, total: report(stage, done, total), known=state
        )
        return setup.method.artifact(other)

    found: list[Job] = []
    for control in control_plan.evaluable(setup.config):
        note = controls.note(control, made_from, setup)
        found += stood_in(setup, control, partial(made, control), note)
    return found


def _first_facts(setup: Setup) -> dict[str, Any]:
    empty = Traffic().to_dict()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    ledger = first_ledger(setup).to_json()
    return {"ledger": ledger, "up": empty, "down": empty, "seconds": 0.0, "started": now}


def _add(total: Traffic, more: Traffic) -> None:
    for client, n in more.payload.items():
        total.payload[client] += n
    for client, n in more.wire.items():
        total.wire[client] += n


@contextmanager
def _recording(setup: Setup, run: RunDirectory, round_number: int) -> Iterator[ServerViewWriter | None]:
    """The recording, cut back to where the checkpoint stands; None where nothing is recorded.

    Of a real private run, what is cut off was sent and will not be sent again, so it is kept apart.
    """
    if not setup.config.record_view:
        yield None
        return
    if (run.view / "view.json").exists():
        writer = ServerViewWriter.resume(run.view)
        if _real(setup):
            writer.copy_after(round_number - 1, run.interrupted(round_number))
        writer.truncate_to(round_number - 1)
    else:
        writer = ServerViewWriter.create(
            run.view,
            backbone=setup.backbone.fingerprint,
            task=task_hash(setup.data.task),
            defense=setup.config.defense,
        )
    with writer:
        yield writer


def run_folder(out: Path | None, name: str) -> Path:
    """Where a run goes when nobody says: ``runs/<name>``, numbered if that is taken."""
    return out if out is not None else fresh_path(Path("runs"), name)
