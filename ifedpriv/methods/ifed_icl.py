"""IFed-ICL in three phases: one round for the context vector, n for the coefficients, one for the guard.

Round 0 asks for vectors, rounds 1 to n for coefficients, and round n + 1 (if the guard is on) for the number
of right held-out answers with and without the injection. With public coefficients that stay frozen, round 0 is all.

Reference: Li et al., *Implicit Federated In-context Learning*, arXiv 2511.06757, Eq. 1 to 7. What the paper
leaves open (steps, optimiser, start, weights) is stated in the specs and in every run's config.yaml.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy

import numpy as np
from numpy.typing import NDArray

from defenses.dp.release import Told
from defenses.entropy import Entropy, SecureEntropy
from defenses.records import Records
from defenses.session import Aggregate
from defenses.upload import Layout, Upload, UploadKind
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Task, TaskKind
from ifedpriv.errors import InputError
from ifedpriv.icl.calibrate import CalibrationPlan, Calibrator
from ifedpriv.icl.choice import Choice
from ifedpriv.icl.extract import extract, extract_by_class
from ifedpriv.icl.guard import GuardVerdict
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.objective import Loss
from ifedpriv.icl.private_calibrate import (
    PrivateSteps,
    adam_step,
    calibrate_privately,
    gradient_rows,
    poisson_sample,
)
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.vectors import ATTENTION, BETA, LAMBDA, MLP, Coefficients, ContextVector
from ifedpriv.methods import guarding
from ifedpriv.methods.client_work import ClientWork
from ifedpriv.methods.method import SERVERS, Client, ClientStep, State
from ifedpriv.methods.public_start import PublicStart
from ifedpriv.methods.specs import IclSpec, IfedIclSpec

_MOMENT, _SQUARE, _NOISE = f"{SERVERS}moment", f"{SERVERS}square", f"{SERVERS}noise"
_RELEASED = f"{SERVERS}released"


class IfedIcl:
    """The paper's method on one backbone and one task.

    Args:
        spec: what the configuration says about it.
        backbone: the frozen model.
        task: template and label words.
        private: how coefficients are calibrated where each example is to be hidden; None for the paper's way.
        noised: the guard's scores come with noise.
        entropy: draws what private calibration draws.
        work: what has been computed of the clients' examples already, where several runs share it.
        public: coefficients from public tasks, where the specification asks for them.
    """

    def __init__(
        self,
        spec: IfedIclSpec,
        backbone: Backbone,
        task: Task,
        *,
        private: PrivateSteps | None = None,
        noised: bool = False,
        entropy: Entropy | None = None,
        work: ClientWork | None = None,
        public: PublicStart | None = None,
    ) -> None:
        if spec.aggregation == "class_balanced" and task.kind is TaskKind.GENERATION:
            raise InputError(
                "method.aggregation is 'class_balanced', and a generation task has no classes",
                "use uniform or count",
            )
        if (public is None) != (spec.coefficients == "federated"):
            raise ValueError("public coefficients are given where they are asked for, and only there")
        self.spec = spec
        self.public = public
        self.backbone = backbone
        self.task = task
        self.private = private
        self.noised = noised
        self.entropy = SecureEntropy() if entropy is None else entropy
        self.work = ClientWork(backbone, task) if work is None else work
        self.stand_in: ContextVector | None = None

    def standing_in(self, vector: NDArray[np.float32]) -> IfedIcl:
        """The same method from round 1 on, with another vector, float32 ``[layers, 2, width]``, for the clients'."""
        other = copy(self)
        other.stand_in = ContextVector(vector, 0)
        return other

    @property
    def vector_round(self) -> int:
        """Number of the round that asks for vectors."""
        return 0

    @property
    def vector_shape(self) -> tuple[int, ...]:
        """Of the vector."""
        return self.backbone.n_layers, 2, self.backbone.width

    @property
    def rounds(self) -> int:
        """One for the vector, n for the coefficients, one for the guard; with frozen coefficients the first alone."""
        if self.frozen:
            return 1
        return 1 + self.spec.calibration.rounds + (1 if self.spec.guard else 0)

    @property
    def frozen(self) -> bool:
        """Whether the coefficients are public and stay as they are."""
        return self.spec.frozen

    @property
    def guard_round(self) -> int | None:
        """Number of the round that asks for held-out scores, if there is one."""
        return self.rounds - 1 if self.spec.guard and not self.frozen else None

    def cohort(self, round_number: int) -> int:
        """Every round draws its own clients."""
        return round_number

    def initial_state(self) -> State:
        """No vector yet, unless one stands in; coefficients at their start."""
        start = State(0, {"coefficients": starting_coefficients(self.spec, self.backbone.n_layers).values})
        return start if self.stand_in is None else self._with_coefficients(start, self.stand_in.values, 0.0)

    def asks(self, round_number: int) -> tuple[UploadKind, Layout]:
        """Vector, coefficients, or held-out scores."""
        layers, width = self.backbone.n_layers, self.backbone.width
        if round_number == 0:
            if self.spec.aggregation == "class_balanced":
                classes = self.task.n_classes
                return UploadKind.VECTOR, Layout.of(
                    {"by_class": (classes, layers, 2, width), "present": (classes,)}
                )
            return UploadKind.VECTOR, Layout.of({"vector": (layers, 2, width)})
        if round_number == self.guard_round:
            return guarding.ASKED
        return UploadKind.COEFFICIENTS, Layout.of({"beta": (layers, 2), "lambda": (layers, 2)})

    def broadcasts(self, state: State) -> list[Upload]:
        """The vector once, as soon as there is one; the coefficients before every later round."""
        result = []
        if state.round == 1:
            result.append(Upload({"vector": state.arrays["vector"]}, 1.0, state.round, UploadKind.VECTOR))
        if state.round > 0:
            coefficients = Coefficients(state.arrays["coefficients"])
            result.append(Upload(split(coefficients.values), 1.0, state.round, UploadKind.COEFFICIENTS))
        return result

    def client_step(self, state: State, client: Client, rng: np.random.Generator) -> ClientStep:
        """Extract, calibrate or score, whichever the round asks for."""
        if state.round == 0:
            return ClientStep(self._vector(client), None)
        if state.round == self.guard_round:
            held = guarding.scores(self.backbone, self.task, client, self.artifact(state), state.round)
            return ClientStep(held, None)
        if self.private is not None:
            broken: list[int] = []
            upload = self._privately(state, client, self.private, broken.append)
            return ClientStep(upload, None, not_finite=f"{broken[0]} gradients" if broken else "")
        result = self._calibrator(client).run(
            self.vector(state), Coefficients(state.arrays["coefficients"]), self.plan(state.round), rng
        )
        return ClientStep(self._coefficients(state, client, result.coefficients), result.loss)

    def _coefficients(self, state: State, client: Client, found: Coefficients) -> Upload:
        # How many examples a client has is private where its examples are, so its coefficients then weigh the same.
        weight = self._weight(client) if self.private is None else 1.0
        return Upload(split(found.values), weight, state.round, UploadKind.COEFFICIENTS)

    def _privately(self, state: State, client: Client, terms: PrivateSteps, told: Told) -> Upload | Records:
        """Coefficients after steps of the client's own, or each sampled example's gradient for a step of all."""
        entropy = self.entropy.branch(f"calibration {state.round} client {client.number}")
        plan, objective = self.plan(state.round), self._calibrator(client)
        at = Coefficients(state.arrays["coefficients"])
        if terms.multiplier is None:
            chosen = poisson_sample(len(client.train), terms.rate, entropy)
            found = gradient_rows(self.backbone, objective, self.vector(state), at, chosen, plan.free)
            layout = self.asks(state.round)[1]
            rows = (_rows(layout, gradients) for gradients in found)
            return Records(layout, rows, state.round, UploadKind.COEFFICIENTS)
        calibrated = calibrate_privately(
            self.backbone,
            objective,
            self.vector(state),
            at,
            steps=plan.steps,
            learning_rate=plan.rate,
            terms=terms,
            entropy=entropy,
            free=plan.free,
            told=told,
        )
        return self._coefficients(state, client, calibrated)

    def server_step(self, state: State, aggregate: Aggregate) -> State:
        """Mean vector, mean coefficients, or pooled held-out scores."""
        if state.round == 0 and self.spec.aggregation == "class_balanced":
            present = aggregate.means["present"]
            held = present > 0
            per_class = aggregate.means["by_class"][held] / present[held][:, None, None, None]
            mean = per_class.mean(axis=0, dtype=np.float64).astype(np.float32)
            return self._with_vector(state, mean, aggregate.noise)
        if state.round == self.guard_round:
            return state.next(guard=guarding.pooled(aggregate))
        if state.round == 0:
            return self._with_vector(state, aggregate.means["vector"], aggregate.noise)
        if self.private is not None and self.private.multiplier is None:
            return self._stepped(state, joined(aggregate.means))
        return state.next(coefficients=joined(aggregate.means))

    def _with_vector(self, state: State, vector: NDArray[np.float32], noise: float) -> State:
        """The state after round 0; with public coefficients, the public centre is taken off the vector."""
        return self._with_coefficients(
            state, vector if self.public is None else self.public.centred(vector), noise
        )

    def _with_coefficients(self, state: State, vector: NDArray[np.float32], noise: float) -> State:
        """The state after round 0, with the vector that is injected and, where they are public, its coefficients."""
        if self.public is None:
            return state.next(vector=vector)
        # As the state keeps it, so that `choice` asks the same again.
        noise = float(np.float32(noise))
        coefficients = self.public.choice(vector, noise).coefficients
        return state.next(
            vector=vector,
            coefficients=coefficients.values,
            **{_NOISE: np.asarray([noise], dtype=np.float32), _RELEASED: vector},
        )

    def choice(self, state: State) -> Choice | None:
        """Which public coefficients a run began with, and why; None where they are none."""
        if self.public is None or _RELEASED not in state.arrays:
            return None
        # Later rounds know the vector as the wire has rounded it, which may fit another set.
        return self.public.choice(state.arrays[_RELEASED], float(state.arrays[_NOISE][0]))

    def _stepped(self, state: State, gradient: NDArray[np.float32]) -> State:
        """One step of Adam on everybody's gradient; its moments stay with the server."""
        before, zero = state.arrays["coefficients"], np.zeros_like(gradient)
        mean, square = (state.arrays.get(name, zero) for name in (_MOMENT, _SQUARE))
        plan = self.plan(state.round)
        found, mean, square = adam_step(before, gradient, mean, square, step=state.round, rate=plan.rate)
        if plan.free is not None:
            found = np.where(plan.free, found, before)
        return state.next(coefficients=found, **{_MOMENT: mean, _SQUARE: square})

    def heard(self, state: State, broadcast: Upload) -> State:
        """The vector or the coefficients as the clients decode them."""
        if broadcast.kind is UploadKind.VECTOR:
            return state.with_arrays({"vector": broadcast.arrays["vector"]})
        return state.with_arrays({"coefficients": joined(broadcast.arrays)})

    def vector(self, state: State) -> ContextVector:
        """The global vector in a state."""
        return ContextVector(state.arrays["vector"], 0)

    def artifact(self, state: State, facts: dict[str, str] | None = None) -> Injection:
        """The injection that a state stands for."""
        coefficients = Coefficients(state.arrays["coefficients"])
        return Injection(self.vector(state), coefficients, self.backbone.fingerprint, facts or {})

    def verdict(self, state: State) -> GuardVerdict | None:
        """What the guard found, once its round is over, or what speaks for public coefficients."""
        if self.frozen and self.spec.guard and self.public is not None and "vector" in state.arrays:
            return self.public.verdict(float(state.arrays[_NOISE][0]))
        if "guard" not in state.arrays:
            return None
        return guarding.verdict_of(state.arrays["guard"], noised=self.noised)

    def plan(self, round_number: int) -> CalibrationPlan:
        """Local steps of a coefficient round, with the rate that its place in the schedule gives."""
        return calibration_plan(self.spec, self.backbone.n_layers, round_number)

    def _vector(self, client: Client) -> Upload | Records:
        position, size = Position(self.spec.position), self.spec.batch_size
        tokenised = self._calibrator(client).demonstrations
        if self.spec.aggregation == "class_balanced":
            means, counts = extract_by_class(
                self.backbone,
                self.task,
                client.train,
                position=position,
                batch_size=size,
                demonstrations=tokenised,
            )
            arrays = {"by_class": means, "present": (counts > 0).astype(np.float32)}
            return Upload(arrays, 1.0, 0, UploadKind.VECTOR)
        if self.spec.aggregation == "count":
            # Alone, so that an example's row is the same to the last digit whoever else is there.
            found = self.work.activations(client, position, size if self.private is None else 1)
            rows = (values.reshape(len(values), -1) for _, values in found)
            return Records(self.asks(0)[1], rows, 0, UploadKind.VECTOR)
        vector = extract(
            self.backbone,
            self.task,
            client.train,
            position=position,
            batch_size=size,
            demonstrations=tokenised,
        )
        return Upload({"vector": vector.values}, 1.0, 0, UploadKind.VECTOR)

    def takes_part(self, round_number: int, client: Client) -> bool:
        """Whether a client has what the round asks for."""
        return bool(client.validation) if round_number == self.guard_round else bool(client.train)

    def _weight(self, client: Client) -> float:
        return float(len(client.train)) if self.spec.aggregation == "count" else 1.0

    def _calibrator(self, client: Client) -> Calibrator:
        """Tokenised examples of the clients seen last."""
        return self.work.calibrator(client)


def split(values: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """λ and β ``[..., 2]`` as arrays of their own: ranges differ, and a coarse wire gives each array its own scale."""
    return {"lambda": values[..., LAMBDA], "beta": values[..., BETA]}


def _rows(layout: Layout, gradients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gradients ``[batch, layers, 2, 2]`` as rows in the layout's order."""
    parts = {"lambda": gradients[..., LAMBDA], "beta": gradients[..., BETA]}
    return np.concatenate([parts[name].reshape(len(gradients), -1) for name in layout.names], axis=1)


def joined(arrays: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """What `split` has taken apart."""
    return np.stack((arrays["lambda"], arrays["beta"]), axis=-1)


def calibration_plan(spec: IclSpec, layers: int, round_number: int) -> CalibrationPlan:
    """The local plan of coefficient round ``round_number`` (from 1), with the rate of its place in the schedule."""
    c = spec.calibration
    rate = c.rate
    if c.schedule == "cosine" and c.rounds > 1:
        done = (round_number - 1) / (c.rounds - 1)
        rate *= 0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2
    free = free_coefficients(spec, layers)
    return CalibrationPlan(
        c.steps, c.batch_size, rate, c.decay, c.proximal, Loss(c.loss), None if free.all() else free
    )


def starting_coefficients(spec: IclSpec, layers: int) -> Coefficients:
    """The start that the spec names where coefficients are free, the identity elsewhere."""
    start = Coefficients.uniform(layers, spec.calibration.start_lambda, spec.calibration.start_beta)
    free = free_coefficients(spec, layers)
    return Coefficients(np.where(free, start.values, Coefficients.identity(layers).values))


def free_coefficients(spec: IclSpec, layers: int) -> NDArray[np.bool_]:
    """Which coefficients a spec lets move, bool ``[layers, 2, 2]``; thirds are cut at ``layers / 3``, rounded."""
    free = np.ones((layers, 2, 2), dtype=np.bool_)
    if spec.branches != "both":
        free[:, MLP if spec.branches == "attention" else ATTENTION] = False
    if spec.form == "add":
        free[..., BETA] = False
    if spec.layers != "all":
        third = ("early", "middle", "late").index(spec.layers)
        cuts = [round(layers * part / 3) for part in range(4)]
        outside = np.ones(layers, dtype=np.bool_)
        outside[cuts[third] : cuts[third + 1]] = False
        free[outside] = False
    return free
