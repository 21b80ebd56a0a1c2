"""From a configuration to the parts of an experiment: backbone, data, clients, method, defense."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from defenses.defense import Defense
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import RunConfig
from ifedpriv.data.loaders import load_task_data
from ifedpriv.data.partition import Partition, partition, test_for_group
from ifedpriv.data.task import Example, Task, TaskData, TaskKind
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.experiment.pool import Clients, client_of
from ifedpriv.icl.labels import label_tokens
from ifedpriv.icl.prompts import tokenize_all
from ifedpriv.methods.fed_lora import FedLora
from ifedpriv.methods.ifed_icl import IfedIcl
from ifedpriv.methods.method import Client
from ifedpriv.methods.specs import FedLoraSpec


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """The parts of one experiment.

    Attributes:
        config: what they were made from.
        backbone: the frozen model.
        data: task and splits.
        partition: who holds what, before examples are held out.
        clients: the same as clients.
        method: what they compute.
        defense: what protects it.
    """

    config: RunConfig
    backbone: Backbone
    data: TaskData
    partition: Partition
    clients: Clients
    method: IfedIcl | FedLora
    defense: Defense

    def queries(self, group: str) -> list[Example]:
        """Test examples as a group of clients would label them."""
        return test_for_group(self.data.test, group, self.partition)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups that label differently; one if all agree."""
        return tuple(sorted(set(self.partition.groups)))

    @property
    def all_queries(self) -> list[Example]:
        """Every group's test examples, one group after the other."""
        return [query for group in self.groups for query in self.queries(group)]


def prepare(config: RunConfig, *, backbone: Backbone | None = None, data: TaskData | None = None) -> Setup:
    """Build every part; parts that the caller has already are used as they are."""
    torch.set_num_threads(config.threads)
    backbone = backbone or load_backbone(config)
    data = data or load_task_data(config.data, data_root(config))
    held = partition(data.train, data.task.n_classes, config.partition, config.seed)
    method = build_method(config, backbone, data.task)
    clients = tuple(
        client_of(number, examples, group, config.evaluation.validation_fraction)
        for number, (examples, group) in enumerate(zip(held.clients, held.groups, strict=True))
    )
    _check_texts(backbone, data, clients)
    return Setup(
        config,
        backbone,
        data,
        held,
        Clients(clients, method.takes_part),
        method,
        Defense.from_spec(config.defense),
    )


def build_method(config: RunConfig, backbone: Backbone, task: Task) -> IfedIcl | FedLora:
    """The method that a configuration names."""
    if isinstance(config.method, FedLoraSpec):
        return FedLora(config.method, backbone, task, config.seed)
    return IfedIcl(config.method, backbone, task)


def _check_texts(backbone: Backbone, data: TaskData, clients: Sequence[Client]) -> None:
    """Refuse label words and texts that the model cannot take, before anything is computed or written."""
    task = data.task
    if task.kind is TaskKind.GENERATION:
        room = task.max_new_tokens
    else:
        room = max(map(len, label_tokens(backbone, task).tokens))
    for client in clients:
        tokenize_all(backbone, task, (*client.train, *client.validation))
    prompts = backbone.encode_prompts([task.prompt(query.text) for query in data.test])
    for query, ids in zip(data.test, prompts, strict=True):
        backbone.check_length(
            [*ids, *range(room)], f"a test example of task {task.name} of {len(query.text)} characters"
        )


def load_backbone(config: RunConfig) -> Backbone:
    """The backbone that a configuration names."""
    path = str(MODEL_PATH) if config.backbone.path == "embedded" else config.backbone.path
    return Backbone.load(path, dtype=config.backbone.dtype, device=config.backbone.device)


def data_root(config: RunConfig) -> Path | None:
    """Where relative data paths start: the configuration's ``data_root``, else IFEDPRIV_DATA."""
    root = config.data_root or os.environ.get("IFEDPRIV_DATA")
    return Path(root) if root else None
