"""From an argument list to an audited mechanism: what is declared, what is called, and what is printed.

The invariant: a run without a bound is not evaluable and says so; nothing is invented for what a run does not declare.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np

from attacks._base.defaults import ALPHA, NAME, NO_BOUND, ONE_RUN_CANARIES, TEXTS, TRIALS
from attacks._mechanisms.mechanism import Claim, Floats, Mechanism
from defenses.ledger import Ledger
from defenses.statement import PrivacyStatement
from defenses.units import Neighbouring, Unit
from ifedpriv.errors import IfedprivError, InputError, UserError

_SHAPE = "5,2,128"
SCHEMA = 2
_NONE = {"conclusion": "not evaluable", "releases": []}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of an audit beside those that every attack takes; ``--noise`` is shared with them."""
    group = parser.add_argument_group("audit")
    group.add_argument(
        "--mechanism", metavar="MODULE:NAME", help="the callable to audit, importable from here"
    )
    group.add_argument("--epsilon", type=float, help="declared, in place of the run's")
    group.add_argument("--delta", type=float, help="declared, in place of the run's")
    group.add_argument("--sensitivity", type=float, help="declared, of one round, in Euclidean norm")
    group.add_argument("--unit", choices=[str(unit) for unit in Unit], help="whose presence is hidden")
    group.add_argument(
        "--neighbouring", choices=[str(relation) for relation in Neighbouring], help="how neighbours differ"
    )
    group.add_argument("--rounds", type=int, help="declared number of rounds")
    group.add_argument(
        "--shape", default=_SHAPE, metavar="A,B,...", help=f"of one record (default: {_SHAPE})"
    )
    group.add_argument("--clients", type=int, default=3, help="clients in the base data (default: 3)")
    group.add_argument("--examples", type=int, default=8, help="records of each (default: 8)")
    group.add_argument(
        "--trials", type=int, default=TRIALS, help=f"runs a side and canary (default: {TRIALS})"
    )
    group.add_argument(
        "--one-run",
        type=int,
        default=ONE_RUN_CANARIES,
        metavar="N",
        help="canaries of the single run; 0 for none",
    )
    group.add_argument("--alpha", type=float, default=ALPHA, help=f"level of the verdict (default: {ALPHA})")


def run(options: argparse.Namespace) -> int:
    """Audit what the options name; returns the exit code."""
    from attacks._program.audit_table import render
    from attacks._program.launch import LEAKS, check_home, write_out
    from attacks._statistics.epsilon import Conclusion
    from ifedpriv.commands.console import Stages, print_json, say

    check_home()
    if options.colluding is not None:
        raise InputError(
            "--colluding is given to audit, which tests a mechanism and reads no sum of clients",
            "leave it out",
        )
    with Stages() as stages:
        result = found(options, stages.show)
    if options.out is not None:
        write_out(options.out, json.dumps(result, indent=1) + "\n")
    if options.json:
        print_json(result)
    else:
        say(render(result))
    return LEAKS if options.fail_on_leak and result["conclusion"] == Conclusion.VIOLATION else 0


def found(options: argparse.Namespace, progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """The audit as plain data, or why there is none."""
    claim = declared(options)
    if claim is None:
        return {"schema": SCHEMA, "attack": NAME, **_NONE, "why": NO_BOUND}
    if options.mechanism is not None:
        made = _named(options, claim, progress)
        whole = {"conclusion": made["conclusion"], "why": made["why"], "releases": [made]}
    elif options.target is not None:
        whole = _own(options, claim, progress)
        if not whole["releases"]:
            whole["why"] += "; name a callable with --mechanism"
    else:
        raise InputError("there is no mechanism to audit", "name one with --mechanism MODULE:NAME")
    return {"schema": SCHEMA, "attack": NAME, **whole}


def _named(
    options: argparse.Namespace, claim: Claim, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """The audit of a callable of the user's."""
    from attacks.audit import audit

    mechanism, base = find(options.mechanism), _base(options, claim)
    try:
        made = audit(
            mechanism,
            base,
            claim,
            trials=options.trials,
            alpha=options.alpha,
            seed=options.seed,
            one_run=options.one_run,
            progress=progress,
        )
    except IfedprivError:
        raise
    except Exception as error:
        raise UserError(
            f"mechanism {options.mechanism} failed on records of shape {options.shape} "
            f"({type(error).__name__}: {' '.join(str(error).split())})",
            "it takes a list of arrays [n, ...], one a client, and a source of entropy; --shape says what a record is",
        ) from error
    return {"release": options.mechanism, "rounds": None, "note": "", **made.to_dict()}


def declared(options: argparse.Namespace) -> Claim | None:
    """What the options declare, and else the run; None where nobody declares a bound."""
    claim = _of_run(options.target) if options.target is not None else None
    given = {
        name: getattr(options, name)
        for name in ("epsilon", "delta", "sensitivity", "unit", "neighbouring", "rounds")
    }
    given["noise"] = options.noise or None
    changes = {name: value for name, value in given.items() if value is not None}
    if claim is None and ("epsilon" in changes) != ("delta" in changes):
        missing = "delta" if "epsilon" in changes else "epsilon"
        raise InputError(f"--{missing} is missing", "a bound is an epsilon and a delta")
    if claim is None and "epsilon" not in changes:
        return None
    for name, kind in (("unit", Unit), ("neighbouring", Neighbouring)):
        if name in changes:
            changes[name] = kind(changes[name])
    return replace(claim, **changes) if claim is not None else Claim(**changes)


def _of_run(path: Path) -> Claim | None:
    from ifedpriv.experiment.rundir import RunDirectory
    from ifedpriv.report.schema import Report

    report = Report.load(path / "report.json")
    statement = PrivacyStatement.from_json(json.dumps({"schema": 1, **report.privacy.statement}))
    saved = RunDirectory(path).load_checkpoint()
    ledger = Ledger.from_json(saved[1]["ledger"]) if saved is not None else None
    return Claim.of_run(statement, ledger)


def _own(
    options: argparse.Namespace, claim: Claim, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """The audit of each of the run's own releases, by itself."""
    from attacks._judging.score import Wishes, public_texts
    from attacks._program.own_audit import audited
    from attacks._program.released import own_releases
    from ifedpriv.experiment.prepare import prepare
    from ifedpriv.experiment.rundir import RunDirectory

    setup = prepare(RunDirectory.open(options.target).config())
    public, _ = public_texts(setup.config, setup.data, Wishes(public=options.public, public_texts=TEXTS))
    return audited(
        own_releases(setup, claim.delta, options.clients, options.examples, options.seed, public),
        trials=options.trials,
        alpha=options.alpha,
        seed=options.seed,
        one_run=options.one_run,
        progress=progress,
    )


def find(name: str) -> Mechanism:
    """The callable of a ``module:name``.

    Raises:
        InputError: there is none.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise InputError(
            f"--mechanism is {name!r}", "write it as module:name, such as mypackage.release:noisy_mean"
        )
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        value = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"--mechanism {name} cannot be imported ({error})", "check its name and the folder"
        ) from error
    if not callable(value):
        raise InputError(f"--mechanism {name} is no callable", "name a function of records and entropy")
    return cast(Mechanism, value)


def _base(options: argparse.Namespace, claim: Claim) -> list[Floats]:
    """Records that the adversary knows: random, and short beside the sensitivity, so that no clip touches them."""
    try:
        shape = tuple(int(part) for part in options.shape.split(","))
    except ValueError as error:
        raise InputError(
            f"--shape is {options.shape!r}", f"write whole numbers with commas, such as {_SHAPE}"
        ) from error
    if min(shape) < 1 or options.clients < 1 or options.examples < 1:
        raise InputError(
            f"--shape {options.shape}, --clients {options.clients} and --examples {options.examples} hold a 0",
            "give 1 or more of each",
        )
    rng = np.random.default_rng([options.seed, 29])
    scale = 0.2 * (claim.sensitivity or 1.0) / np.sqrt(np.prod(shape))
    return [scale * rng.normal(size=(options.examples, *shape)) for _ in range(options.clients)]
