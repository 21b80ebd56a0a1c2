"""What the method is compared with, on the same clients, data and budget.

Every function returns one list of answers for each client (or a single list), over the queries of the
client's own group, so that intervals can tell queries from clients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defenses.upload import Upload
from ifedpriv.data.task import Example
from ifedpriv.experiment.prepare import Setup
from ifedpriv.icl.calibrate import Calibrator
from ifedpriv.icl.evaluate import Answers, answer
from ifedpriv.icl.extract import extract
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.predict import Adaptation
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.vectors import ContextVector
from ifedpriv.methods.fed_lora import FedLora
from ifedpriv.methods.ifed_icl import IfedIcl, calibration_plan, starting_coefficients
from ifedpriv.methods.lora_adapter import LoraAdapter
from ifedpriv.methods.method import Client
from ifedpriv.methods.prototype_icl import PrototypeIcl

_SHOTS, _LOCAL = 21, 22


def zero_shot(setup: Setup) -> Answers:
    """The bare model, no demonstration."""
    return _answers(setup, setup.all_queries)


def global_injection(setup: Setup, injection: Adaptation) -> Answers:
    """The federation's injection (or adapter), no demonstration in the prompt."""
    return _answers(setup, setup.all_queries, injection=injection)


def local_icl(setup: Setup, client: Client) -> Answers:
    """One client's own demonstrations in the prompt of every query of its group."""
    return _answers(setup, setup.queries(client.group), context=demonstrations(setup, client))


def demonstrations(setup: Setup, client: Client) -> str:
    """A few-shot prefix of the client's own examples: as many as asked for, as it has, and as fit the context."""
    rng = np.random.default_rng([setup.config.seed, _SHOTS, client.number])
    shots = min(setup.config.evaluation.shots, len(client.train))
    chosen = rng.choice(len(client.train), size=shots, replace=False)
    task, backbone = setup.data.task, setup.backbone
    queries = backbone.encode_prompts([task.prompt(query.text) for query in setup.data.test])
    longest = max(map(len, queries)) + 32
    context = ""
    for index in chosen:
        longer = context + task.demonstration(client.train[index])
        if len(backbone.encode_prompt(longer)) + longest > backbone.max_length:
            break
        context = longer
    return context


def local_injection(setup: Setup, injection: Adaptation, client: Client) -> Answers:
    """What a client's own injection (or adapter; see `train_alone`) answers."""
    return _answers(setup, setup.queries(client.group), injection=injection)


def bare(setup: Setup, client: Client) -> Answers:
    """What the model as it is answers to a client's queries."""
    return _answers(setup, setup.queries(client.group))


def train_alone(setup: Setup, client: Client) -> Injection | LoraAdapter:
    """What a client makes alone, with as many steps as it takes in the federation, or with public coefficients."""
    if isinstance(setup.method, FedLora):
        return _adapter_alone(setup, setup.method, client)
    assert isinstance(setup.method, IfedIcl | PrototypeIcl)
    spec = setup.method.spec
    vector = extract(
        setup.backbone,
        setup.data.task,
        client.train,
        position=Position(spec.position),
        batch_size=spec.batch_size,
    )
    coefficients = starting_coefficients(spec, setup.backbone.n_layers)
    if setup.public is not None:
        vector = ContextVector(setup.public.centred(vector.values), vector.count)
        coefficients = setup.public.choice(vector.values, 0.0).coefficients
        if setup.frozen:
            return Injection(vector, coefficients)
    calibrator = Calibrator(setup.backbone, setup.data.task, client.train)
    for round_number in range(1, spec.calibration.rounds + 1):
        rng = np.random.default_rng([setup.config.seed, _LOCAL, client.number, round_number])
        coefficients = calibrator.run(
            vector, coefficients, calibration_plan(spec, setup.backbone.n_layers, round_number), rng
        ).coefficients
    return Injection(vector, coefficients)


def _adapter_alone(setup: Setup, method: FedLora, client: Client) -> LoraAdapter:
    state = method.initial_state()
    while state.round < method.rounds:
        rng = np.random.default_rng([setup.config.seed, _LOCAL, client.number, state.round])
        upload = method.client_step(state, client, rng).upload
        assert isinstance(upload, Upload)
        state = state.next(**upload.arrays)
    return method.artifact(state)


def _answers(
    setup: Setup, queries: Sequence[Example], *, context: str = "", injection: Adaptation | None = None
) -> Answers:
    return answer(
        setup.backbone,
        setup.data.task,
        queries,
        context=context,
        injection=injection,
        batch_size=setup.config.evaluation.batch_size,
    )
