"""What a run declares, what its ledger comes to, and what an audit of its own release can refute, side by side.

The invariant: a bound that is declared and could not be checked is never called kept.
"""

from __future__ import annotations

import json
from typing import Any

from attacks._base.attack import Progress
from attacks._base.defaults import NO_BOUND, TEXTS
from attacks._statistics.epsilon import Conclusion
from attacks._whole_run.charged import left_out
from attacks._whole_run.request import Request
from defenses.accounting.composition import Bound
from defenses.accounting.spent import ledger_bound
from defenses.decimals import at_most
from defenses.ledger import Ledger
from defenses.statement import PrivacyStatement
from defenses.units import Neighbouring, Unit
from defenses.view import ServerView
from ifedpriv.config import RunConfig, load_config
from ifedpriv.errors import InputError
from ifedpriv.experiment.prepare import prepare
from ifedpriv.experiment.rundir import RunDirectory
from ifedpriv.report.schema import Report

CLIENTS, EXAMPLES = 3, 8
"""Records of the auditor's own, on which the mechanism is played."""
_SAME = 1e-6


def bound_of(request: Request, progress: Progress) -> dict[str, Any]:
    """The bound of a run as plain data: declared, accounted anew, audited, and what it comes to."""
    path = request.config_path
    if path is None:
        return _told(
            Conclusion.NOT_EVALUABLE, "nothing says what is declared: the recording came without its run"
        )
    config = load_config(path)
    ledger = _ledger(request)
    declared = _declared(request, config, ledger)
    if declared is None:
        return _told(Conclusion.NOT_EVALUABLE, NO_BOUND)
    accounted, against = _accounted(declared, ledger)
    if against:
        return _told(Conclusion.VIOLATION, against, declared=declared, accounted=accounted)
    conclusion, why = _charged(request, ledger)
    if conclusion is not Conclusion.CONSISTENT:
        return _told(conclusion, why, declared=declared, accounted=accounted)
    audited = _audited(request, config, declared, progress)
    return _told(
        Conclusion(audited["conclusion"]),
        audited["why"],
        declared=declared,
        accounted=accounted,
        audited=audited,
    )


def _told(conclusion: Conclusion, why: str, **parts: Any) -> dict[str, Any]:
    empty = {"declared": None, "accounted": None, "audited": None}
    return {**empty, **parts, "conclusion": str(conclusion), "why": why}


def _ledger(request: Request) -> Ledger | None:
    if not request.is_run:
        return None
    saved = RunDirectory(request.target).load_checkpoint()
    if saved is None:
        return None
    if "ledger" not in saved[1]:
        raise InputError(
            f"the checkpoint of {request.target} holds no ledger", "use the folder as the run left it"
        )
    return Ledger.from_json(saved[1]["ledger"])


def _charged(request: Request, ledger: Ledger | None) -> tuple[Conclusion, str]:
    """Whether the ledger holds every release that the recording shows; nothing against it where there is none."""
    saved = RunDirectory(request.target).load_checkpoint() if request.is_run else None
    if ledger is None or saved is None:
        return Conclusion.CONSISTENT, ""
    missing = left_out(ServerView.open(request.view), ledger)
    over = (request.target / "report.json").is_file()
    accused = [why for number, why in missing.items() if over or number < saved[0].round]
    if accused:
        more = f"; likewise {len(accused) - 1} more rounds" if len(accused) > 1 else ""
        return Conclusion.VIOLATION, f"a release is not accounted for: {accused[0]}{more}"
    if missing:
        return Conclusion.NOT_EVALUABLE, (
            f"the run broke off in round {min(missing)}, whose uploads are in the recording and not yet in the ledger; "
            "go on with it (ifedpriv run --resume) and audit it then"
        )
    return Conclusion.CONSISTENT, ""


def _declared(request: Request, config: RunConfig, ledger: Ledger | None) -> dict[str, Any] | None:
    """What the report says; without one what the ledger comes to, and for a bare recording what was planned."""
    path = request.target / "report.json"
    if request.is_run and path.is_file():
        statement = _statement(request)
        if statement.epsilon is None:
            return None
        return {
            "epsilon": statement.epsilon,
            "delta": statement.delta,
            "unit": str(statement.unit),
            "neighbouring": str(statement.neighbouring),
            "trust": str(statement.trust),
            "simulation": statement.simulation,
            "said_by": "report.json",
        }
    spec = config.defense.privacy
    if spec is None:
        return None
    return {
        "epsilon": spec.epsilon,
        "delta": spec.delta,
        "unit": str(spec.unit),
        "neighbouring": str(Neighbouring.ADD_OR_REMOVE),
        "trust": str(spec.trust),
        "simulation": ledger.simulation if ledger is not None else True,
        "said_by": "config.yaml",
    }


def _statement(request: Request) -> PrivacyStatement:
    report = Report.load(request.target / "report.json")
    return PrivacyStatement.from_json(json.dumps({"schema": 1, **report.privacy.statement}))


def _accounted(declared: dict[str, Any], ledger: Ledger | None) -> tuple[dict[str, Any] | None, str]:
    """What the ledger comes to, accounted anew, and what of that contradicts the declaration."""
    if ledger is None:
        return None, ""
    found = ledger_bound(
        ledger, declared["delta"], Unit(declared["unit"]), Neighbouring(declared["neighbouring"])
    )
    if not isinstance(found, Bound):
        return {"epsilon": None, "why": found.reason}, f"the ledger has no bound: {found.reason}"
    told = {
        "epsilon": found.epsilon,
        "delta": found.delta,
        "method": str(found.method),
        "releases": len(ledger.events),
    }
    if found.epsilon > declared["epsilon"] * (1 + _SAME) + _SAME:
        return told, (
            f"ε {declared['epsilon']:.4g} is declared, and the releases in the ledger come to "
            f"{at_most(found.epsilon, 4)} at δ {found.delta:g}"
        )
    return told, ""


def _audited(
    request: Request, config: RunConfig, declared: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    """Each of the run's own releases, a round of it, played by itself against what its ledger entry declares."""
    from attacks._judging.score import Wishes, public_texts
    from attacks._program.own_audit import audited
    from attacks._program.released import own_releases

    setup = prepare(config)
    public, _ = public_texts(config, setup.data, Wishes(public=request.public, public_texts=TEXTS))
    made = audited(
        own_releases(setup, declared["delta"], CLIENTS, EXAMPLES, request.seed, public),
        trials=request.trials,
        alpha=request.alpha,
        seed=request.seed,
        one_run=request.one_run,
        progress=progress,
    )
    for each in made["releases"]:
        if "games" in each:
            bounds = [game["bounds"][0] for game in each["games"]]
            best = max(bounds, key=lambda bound: float(bound["epsilon"]))
            each |= {"lower_bound": best["epsilon"], "ceiling": best["ceiling"]}
    return made
