"""FedAvg over LoRA adapters: the baseline that IFed-ICL is measured against.

A and B are averaged each by itself, as FedIT (arXiv 2305.05644) does and as the IFed-ICL paper's baseline must
have done; the mean of products is not the product of means, and that error is the baseline's own. Clients
minimise the very loss that IFed-ICL's calibration minimises, on batches of the same kind.

Reference: McMahan et al., *FedAvg*, arXiv 1602.05629.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
import torch

from defenses.session import Aggregate
from defenses.upload import Layout, Upload, UploadKind
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Task
from ifedpriv.icl.guard import GuardVerdict
from ifedpriv.icl.objective import Objective
from ifedpriv.methods.lora_adapter import Adapters, LoraAdapter
from ifedpriv.methods.method import Client, ClientStep, State
from ifedpriv.methods.recent import recent
from ifedpriv.methods.specs import FedLoraSpec

_START = 31


class FedLora:
    """FedAvg-LoRA on one backbone and one task.

    Args:
        spec: rank, rate and local work.
        backbone: the frozen model; unchanged whenever no step or artifact is at work.
        task: the task's wording.
        seed: fixes the first A, which the first broadcast carries.
    """

    def __init__(self, spec: FedLoraSpec, backbone: Backbone, task: Task, seed: int = 0) -> None:
        self.spec = spec
        self.backbone = backbone
        self.task = task
        self.seed = seed
        self._adapters = Adapters(backbone, spec.rank, spec.alpha, spec.targets)
        self._objectives: OrderedDict[int, Objective] = OrderedDict()

    @property
    def rounds(self) -> int:
        """Number of rounds."""
        return self.spec.rounds

    @property
    def guard_round(self) -> int | None:
        """There is no guard: the baseline is reported as it comes."""
        return None

    def cohort(self, round_number: int) -> int:
        """Every round draws its own clients."""
        return round_number

    def initial_state(self) -> State:
        """A drawn from the seed, B zero: the model as it is."""
        return State(0, self._adapters.start(np.random.default_rng([self.seed, _START])))

    def asks(self, round_number: int) -> tuple[UploadKind, Layout]:
        """Every A and B, in every round."""
        return UploadKind.WEIGHTS, Layout.of(self._adapters.shapes)

    def broadcasts(self, state: State) -> list[Upload]:
        """The weights, before every round."""
        return [Upload(dict(state.arrays), 1.0, state.round, UploadKind.WEIGHTS)]

    def heard(self, state: State, broadcast: Upload) -> State:
        """The weights as the clients decode them."""
        return state.with_arrays(broadcast.arrays)

    def takes_part(self, round_number: int, client: Client) -> bool:
        """Whether a client has anything to train on."""
        return bool(client.train)

    def client_step(self, state: State, client: Client, rng: np.random.Generator) -> ClientStep:
        """Local Adam steps from the broadcast weights."""
        objective, spec = self._objective(client), self.spec
        batches = (
            objective.passes(spec.epochs, spec.batch_size, rng)
            if spec.epochs
            else objective.batches(spec.steps, spec.batch_size, rng)
        )
        losses = []
        with self._adapters.on(state.arrays) as parameters:
            optimizer = torch.optim.Adam(parameters, lr=self.rate(state.round))
            for chosen in batches:
                loss = objective.loss_of(chosen)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                losses.append(float(loss.detach()))
            arrays = self._adapters.values()
        weight = float(len(client.train)) if spec.aggregation == "count" else 1.0
        return ClientStep(Upload(arrays, weight, state.round, UploadKind.WEIGHTS), float(np.mean(losses)))

    def server_step(self, state: State, aggregate: Aggregate) -> State:
        """The mean A and the mean B."""
        return state.next(**aggregate.means)

    def rate(self, round_number: int) -> float:
        """Adam's rate in a round (from 0)."""
        rate = self.spec.rate
        if self.spec.schedule == "cosine" and self.spec.rounds > 1:
            rate *= 0.05 + 0.95 * (1 + math.cos(math.pi * round_number / (self.spec.rounds - 1))) / 2
        return rate

    def artifact(self, state: State, facts: dict[str, str] | None = None) -> LoraAdapter:
        """The adapter that a state stands for."""
        return LoraAdapter(
            state.arrays,
            self.spec.rank,
            self.spec.alpha,
            self.spec.targets,
            self.backbone.fingerprint,
            facts or {},
        )

    def verdict(self, state: State) -> GuardVerdict | None:
        """None: nothing is guarded."""
        return None

    def _objective(self, client: Client) -> Objective:
        """Tokenised examples of the clients seen last."""
        return recent(self._objectives, client, lambda c: Objective(self.backbone, self.task, c.train))
