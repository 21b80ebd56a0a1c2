"""From an outcome to ``report.json``: rows with intervals, rounds, privacy, and what it takes to repeat them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifedpriv.data.partition import holdings
from ifedpriv.experiment import control_plan, measures, membership
from ifedpriv.experiment.baselines import demonstrations
from ifedpriv.experiment.comparisons import members
from ifedpriv.experiment.figures import figures, number_error, primary_metric, right, vector_share
from ifedpriv.experiment.prepare import Setup
from ifedpriv.experiment.run import Comparison, Outcome
from ifedpriv.federation.traffic import Traffic as Counted
from ifedpriv.icl.labels import label_tokens
from ifedpriv.icl.prototypes import PrototypeBank
from ifedpriv.icl.soft_prompt.library import PromptLibrary
from ifedpriv.measure.agreement import adjusted_rand
from ifedpriv.measure.share import share_over_queries
from ifedpriv.methods.prototype_icl import PrototypeIcl
from ifedpriv.methods.specs import FicpdSpec, IclSpec
from ifedpriv.report.schema import (
    GLOBAL_INJECTION,
    GLOBAL_LORA,
    LOCAL_ICL,
    LOCAL_INJECTION,
    LOCAL_LORA,
    LOCAL_PROMPT,
    META_PROMPT,
    OTHER_TASK,
    PROTOTYPE_INJECTION,
    PROTOTYPE_PROMPT,
    PUBLIC_MEAN,
    RANDOM_VECTOR,
    ZERO_SHOT,
    ZERO_VECTOR,
    BackboneFacts,
    CoefficientRecord,
    ControlsRecord,
    Figure,
    GuardVerdict,
    Holdings,
    PrivacyRecord,
    Report,
    RoundRecord,
    RoundSummary,
    Row,
    TaskFacts,
    Totals,
    Traffic,
)

CONTROL_NAMES = {
    ZERO_VECTOR: "control: no vector",
    RANDOM_VECTOR: "control: random vector",
    PUBLIC_MEAN: "control: public mean",
    OTHER_TASK: "control: another task's vector",
}
PACKAGES = ("ifedpriv", "torch", "transformers", "tokenizers", "numpy", "safetensors")


def build_report(outcome: Outcome) -> Report:
    """The report of a finished experiment."""
    setup = outcome.setup
    rounds = tuple(_round(line) for line in outcome.rounds)
    statement = setup.defense.statement(outcome.ledger)
    client_seconds = sum(line["client_seconds"] for line in outcome.rounds)
    verdict = setup.method.verdict(outcome.state)
    return Report(
        run=setup.config.name,
        started=outcome.started,
        versions=versions(),
        platform={
            "system": f"{platform.system()} {platform.machine()}",
            "cores": str(os.cpu_count()),
            "threads": str(setup.config.threads),
        },
        seeds={"run": setup.config.seed, "data": setup.config.data.seed},
        config=setup.config.model_dump(mode="json"),
        backbone=BackboneFacts(
            setup.config.backbone.path,
            setup.backbone.family,
            setup.backbone.n_layers,
            setup.backbone.width,
            setup.backbone.fingerprint,
        ),
        task=_task_facts(setup),
        primary_metric=primary_metric(setup.data.task.kind),
        rows=tuple(_rows(outcome)),
        rounds=rounds,
        round_summary=RoundSummary.of(rounds),
        coefficients=_coefficients(outcome),
        privacy=PrivacyRecord(statement.text(), json.loads(statement.to_json())),
        guard=None
        if verdict is None
        else GuardVerdict(
            verdict.improves, verdict.injected, verdict.plain, verdict.examples, verdict.sentence()
        ),
        warnings=tuple(_warnings(outcome)),
        totals=Totals(
            len(setup.clients),
            len(outcome.rounds),
            _sum(outcome.up),
            _sum(outcome.down),
            client_seconds,
            outcome.seconds,
        ),
        controls=_controls(outcome),
        per_round=measures.per_round(outcome.rounds),
        membership=membership.record(outcome.membership),
        target=measures.target(setup.config.evaluation.target, outcome.rounds),
        signatures=measures.signatures(setup.data.task.kind, outcome.rows[ZERO_SHOT].lists),
    )


def _rows(outcome: Outcome) -> list[Row]:
    setup = outcome.setup
    kind = setup.data.task.kind
    n_clients = max(len(setup.clients), 1)
    query = _mean_length(setup, "")
    shots = setup.config.evaluation.shots
    asked = f"mean over {n_clients} clients"
    described: dict[str, tuple[str, str]] = {
        ZERO_SHOT: ("zero-shot", "the model as it is"),
        LOCAL_ICL: (
            f"local ICL, up to {shots} shots",
            f"each client's own demonstrations in the prompt; {asked}",
        ),
        LOCAL_INJECTION: ("local injection", f"each client's own vector and coefficients; {asked}"),
        GLOBAL_INJECTION: (
            "global injection (IFed-ICL)",
            _made_of(outcome),
        ),
        PROTOTYPE_INJECTION: ("own cluster's injection (IFed-ICL)", _prototypes(outcome, asked)),
        LOCAL_LORA: ("local LoRA", f"each client's own adapter; {asked}"),
        GLOBAL_LORA: ("global LoRA (FedAvg)", "the federation's adapter, last round"),
        LOCAL_PROMPT: ("local soft prompt", f"each client's own prompt; {asked}"),
        META_PROMPT: ("meta prompt (FICPD)", _meta(setup)),
        PROTOTYPE_PROMPT: ("own cluster's prompt (FICPD)", _clusters(outcome, asked)),
    }
    result = []
    for key, (name, notes) in described.items():
        if key not in outcome.rows:
            continue
        comparison = outcome.rows[key]
        up, down, spent, tokens = Traffic(0, 0), Traffic(0, 0), comparison.client_seconds, query
        if key == LOCAL_ICL:
            first = setup.clients[setup.clients.numbers(0)[0]]
            tokens = _mean_length(setup, demonstrations(setup, first))
        if key in (LOCAL_PROMPT, META_PROMPT, PROTOTYPE_PROMPT) and isinstance(
            outcome.injection, PromptLibrary
        ):
            tokens = query + outcome.injection.meta.shape[0]
        if key in (GLOBAL_INJECTION, GLOBAL_LORA, META_PROMPT, PROTOTYPE_PROMPT, PROTOTYPE_INJECTION):
            spent = sum(line["client_seconds"] for line in outcome.rounds) / n_clients
            up, down = _mean(outcome.up, n_clients), _mean(outcome.down, n_clients)
        scores, beside = figures(kind, comparison.lists), _beside(setup, comparison)
        notes = "; ".join(filter(None, (notes, comparison.note)))
        result.append(Row(key, name, scores, up, down, spent, tokens, notes, **beside))
    for key, name in CONTROL_NAMES.items():
        if key in outcome.rows:
            comparison = outcome.rows[key]
            # No client plays a control, so it costs none anything.
            scores = figures(kind, comparison.lists)
            beside = _beside(setup, comparison)
            result.append(Row(key, name, scores, None, None, None, None, comparison.note, **beside))
    return result


def _beside(setup: Setup, comparison: Comparison) -> dict[str, Any]:
    """What every row has beside its scores."""
    return {
        "numbers": number_error(setup.data.task, comparison.lists),
        "fairness": measures.fairness(setup, comparison.lists),
    }


def _controls(outcome: Outcome) -> ControlsRecord | None:
    """What is known of where the injection's accuracy comes from; None for a method without a vector."""
    row = next((key for key in (GLOBAL_INJECTION, PROTOTYPE_INJECTION) if key in outcome.rows), None)
    if row is None:
        return None
    if not control_plan.wanted(outcome.setup.config):
        return ControlsRecord(enabled=False, share=None)
    if PUBLIC_MEAN not in outcome.rows:
        return ControlsRecord(enabled=True, share=None)
    answers = [outcome.rows[key].lists for key in (row, PUBLIC_MEAN, ZERO_SHOT)]
    setup = outcome.setup
    if row == GLOBAL_INJECTION:
        ours, public, bare = (right(setup.data.task.kind, lists[0]) for lists in answers)
    else:
        ours, public, bare = (measures.by_text(setup, lists) for lists in answers)
    return ControlsRecord(enabled=True, share=vector_share(share_over_queries(ours, public, bare)))


def _made_of(outcome: Outcome) -> str:
    """What the federation's injection is made of."""
    choice = outcome.setup.choice(outcome.state)
    if choice is None:
        return "the federation's vector and coefficients, last round"
    if outcome.setup.frozen:
        return f"the federation's vector; {choice.sentence()}"
    return f"the federation's vector and coefficients, last round; begun with {choice.sentence()}"


def _prototypes(outcome: Outcome, asked: str) -> str:
    """How many prototypes a run ended with, and how well its clusters fit the groups, where there are any."""
    method, bank = outcome.setup.method, outcome.injection
    if not isinstance(method, PrototypeIcl) or not isinstance(bank, PrototypeBank):
        return ""
    many = f"{len(bank)} prototype{'' if len(bank) == 1 else 's'}"
    told = method.spec.clusters.found_by == "oracle"
    used = "a mix of all by nearness" if method.spec.clusters.use == "mix" else "a client's nearest"
    found = f"of {many}, {'that of its group, told by an oracle' if told else used}, last round; {asked}"
    groups = [client.group for client in members(outcome.setup)]
    if told or len(set(groups)) < 2:
        return found
    slots = [int(method.shares(bank, client).argmax()) for client in members(outcome.setup)]
    return f"{found}; adjusted Rand index of clusters and groups {adjusted_rand(slots, groups):.2f}"


def _meta(setup: Setup) -> str:
    """What a run's prompt for everybody is."""
    spec = setup.config.method
    if isinstance(spec, FicpdSpec) and spec.meta.when == "never":
        return "one prompt for all, the clients' mean, since nothing was distilled"
    return "one prompt for all, distilled by the server on public texts"


def _clusters(outcome: Outcome, asked: str) -> str:
    """How many clusters a run of soft prompts ended with."""
    if not isinstance(outcome.injection, PromptLibrary):
        return ""
    count = len(outcome.injection.prototypes)
    many = f"{count} cluster{'' if count == 1 else 's'} with members"
    return f"of {many}, the prompt that fits a client's own examples best, last round; {asked}"


def _mean_length(setup: Setup, context: str) -> float:
    """Mean prompt length in tokens over (at most 100) test queries."""
    task = setup.data.task
    some = setup.data.test[:100]
    prompts = setup.backbone.encode_prompts([context + task.prompt(query.text) for query in some])
    return float(np.mean([len(prompt) for prompt in prompts]))


def _task_facts(setup: Setup) -> TaskFacts:
    task = setup.data.task
    counts = holdings(setup.partition.clients, task.n_classes)
    if not task.n_classes:
        counts = np.asarray([[len(client)] for client in setup.partition.clients])
    return TaskFacts(
        task.name,
        str(task.kind),
        task.label_words,
        len(setup.data.test),
        Holdings(
            tuple(f"client {i}" for i in range(len(setup.partition.clients))),
            setup.partition.groups,
            task.label_words or ("examples",),
            tuple(tuple(int(n) for n in row) for row in counts),
        ),
    )


def _warnings(outcome: Outcome) -> list[str]:
    result = []
    idle = [line["round"] for line in outcome.rounds if not line["took_part"]]
    if idle:
        result.append(
            f"rounds {idle} gave no aggregate, so the state stayed as it was; rounds.jsonl says why"
        )
    missing = sum(len(set(line["dropped"]) - set(line["took_part"])) for line in outcome.rounds)
    if missing:
        result.append(f"{missing} client steps failed and are not in the aggregates")
    late = sum(len(set(line["dropped"]) & set(line["took_part"])) for line in outcome.rounds)
    if late:
        result.append(f"{late} clients failed after their upload was in; it is in the aggregates")
    if _loss_fell_back(outcome.setup):
        result.append(
            "method.calibration.loss is labels, but a label of this task has several tokens: answers competed with "
            "the whole vocabulary"
        )
    verdict = outcome.setup.method.verdict(outcome.state)
    if verdict is not None and not verdict.improves:
        result.append(verdict.sentence())
    result += control_plan.lacking(outcome.setup.config).values()
    return result


def _loss_fell_back(setup: Setup) -> bool:
    spec, task = setup.config.method, setup.data.task
    asked = isinstance(spec, IclSpec) and spec.calibration.loss == "labels"
    return asked and (task.n_classes == 0 or not label_tokens(setup.backbone, task).single)


def _round(line: Mapping[str, Any]) -> RoundRecord:
    return RoundRecord(
        line["round"],
        line["loss"],
        None if line.get("validation") is None else Figure(**line["validation"]),
        None if line["test"] is None else Figure(**line["test"]),
        Traffic(**line["up"]),
        Traffic(**line["down"]),
        line["seconds"],
        tuple(f"client {c}" for c in line["took_part"]),
        tuple(f"client {c}" for c in line["dropped"] if c not in line["took_part"]),
        line["epsilon"],
        # Runs that were begun by an earlier version lack them.
        line.get("queries"),
        line.get("server_queries"),
    )


def _coefficients(outcome: Outcome) -> CoefficientRecord | None:
    if "coefficients" not in outcome.state.arrays:
        return None
    choice = outcome.setup.choice(outcome.state)
    start = (
        outcome.setup.method.initial_state().arrays["coefficients"]
        if choice is None
        else choice.coefficients.values
    )
    return CoefficientRecord(_grid(start), _grid(outcome.state.arrays["coefficients"]))


def _grid(values: NDArray[np.float32]) -> tuple[tuple[tuple[float, ...], ...], ...]:
    return tuple(tuple(tuple(float(x) for x in pair) for pair in layer) for layer in values)


def _sum(counted: Counted) -> Traffic:
    return Traffic(*counted.totals())


def _mean(counted: Counted, clients: int) -> Traffic:
    payload, wire = counted.totals()
    return Traffic(round(payload / clients), round(wire / clients))


def versions() -> dict[str, str]:
    """Versions of everything that may change a number."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        # Started from a checkout that was never installed.
        return "not installed"
