"""From a configuration to the parts of an experiment: backbone, data, clients, method, defense.

In two steps, since most of it is the same whatever the noise: `gather` reads, splits and checks, and `protect` plans
the noise. Runs that differ in their defense alone may share what was gathered; numbers are the same as without.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from defenses.compression import compresses
from defenses.defense import Defense
from defenses.entropy import Entropy, InsecureSeeded, SecureEntropy
from defenses.ledger import PublicDeclaration
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import RunConfig
from ifedpriv.data.loaders import load_task_data
from ifedpriv.data.partition import Partition, partition, test_for_group
from ifedpriv.data.task import Example, Task, TaskData, TaskKind
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.errors import UserError
from ifedpriv.experiment.facts import task_hash
from ifedpriv.experiment.methods import AnyMethod, build_method
from ifedpriv.experiment.pool import Clients, client_by_content, client_of
from ifedpriv.experiment.population import check_delta
from ifedpriv.experiment.privacy import PublicCoordinates, plan_privacy
from ifedpriv.experiment.public_start import declared, public_start
from ifedpriv.icl.choice import Choice
from ifedpriv.icl.labels import label_tokens
from ifedpriv.icl.prompts import tokenize_all
from ifedpriv.methods.client_work import ClientWork
from ifedpriv.methods.ifed_icl import IfedIcl
from ifedpriv.methods.method import Client, Method, State
from ifedpriv.methods.prototype_icl import PrototypeIcl
from ifedpriv.methods.public_start import PublicStart
from ifedpriv.methods.specs import FicpdSpec, IclSpec


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
        entropy: draws for the defense, and for private steps.
        declarations: what the accounting takes as public beside what every run does.
    """

    config: RunConfig
    backbone: Backbone
    data: TaskData
    partition: Partition
    clients: Clients
    method: AnyMethod
    defense: Defense
    entropy: Entropy
    declarations: tuple[PublicDeclaration, ...] = ()

    @property
    def public(self) -> PublicStart | None:
        """Public coefficients, where the run has them."""
        return self.method.public if isinstance(self.method, IfedIcl | PrototypeIcl) else None

    @property
    def frozen(self) -> bool:
        """Whether coefficients are public and stay as they are."""
        return isinstance(self.config.method, IclSpec) and self.config.method.frozen

    def choice(self, state: State) -> Choice | None:
        """Which public coefficients the run began with, once there is a vector; None where they are none."""
        return self.method.choice(state) if isinstance(self.method, IfedIcl) else None

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


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What a run is made of before its defense: the same for every noise.

    Attributes:
        ground: the part of the configuration that it was made from.
        backbone: the frozen model.
        data: task and splits.
        partition: who holds what, before examples are held out.
        clients: the same as clients.
        work: what has been computed of the clients' examples.
        coordinates: what public texts tell about the clip.
    """

    ground: str
    backbone: Backbone
    data: TaskData
    partition: Partition
    clients: tuple[Client, ...]
    work: ClientWork
    coordinates: PublicCoordinates


def prepare(config: RunConfig, *, backbone: Backbone | None = None, data: TaskData | None = None) -> Setup:
    """Build every part; parts that the caller has already are used as they are."""
    return protect(config, gather(config, backbone=backbone, data=data))


def ground(config: RunConfig) -> str:
    """The part of a configuration that `gather` goes by, as text that is equal where it is."""
    parts = {
        "seed": config.seed,
        "threads": config.threads,
        "root": str(data_root(config)),
        "by content": _split_by_content(config),
        "held out": _held_out(config),
        "in front": _front(config),
        **config.model_dump(mode="json", include={"backbone", "data", "partition"}),
    }
    return json.dumps(parts, sort_keys=True)


def gather(
    config: RunConfig, *, backbone: Backbone | None = None, data: TaskData | None = None, room: int = 0
) -> Material:
    """Everything that does not depend on the noise.

    Args:
        config: the run's.
        backbone: the model, if the caller has it already.
        data: likewise.
        room: bytes of activations that may be kept for runs that will share this.
    """
    check_delta(config)
    torch.set_num_threads(config.threads)
    backbone = backbone or load_backbone(config)
    data = data or load_task_data(config.data, data_root(config))
    check_pins(config, data.task)
    held = partition(data.train, data.task.n_classes, config.partition, config.seed)
    split = client_by_content if _split_by_content(config) else client_of
    clients = tuple(
        split(number, examples, group, _held_out(config))
        for number, (examples, group) in enumerate(zip(held.clients, held.groups, strict=True))
    )
    _check_texts(backbone, data, clients, _front(config))
    embedded = config.data.source == "embedded"
    return Material(
        ground(config),
        backbone,
        data,
        held,
        clients,
        ClientWork(backbone, data.task, room=room),
        PublicCoordinates(backbone, data.task, data_root(config), embedded=embedded),
    )


def protect(config: RunConfig, material: Material) -> Setup:
    """A whole experiment on what was gathered, which must have been for the same data and clients."""
    if ground(config) != material.ground:
        raise ValueError("this material was gathered for other data, clients or seeds")
    torch.set_num_threads(config.threads)
    backbone, task, privacy = material.backbone, material.data.task, config.defense.privacy
    entropy = entropy_of(config)
    public = public_start(config, backbone, task, data_root(config))
    root = data_root(config)
    groups = material.partition.groups
    method = build_method(config, backbone, task, root, work=material.work, public=public, groups=groups)
    defense = Defense.from_spec(config.defense)
    declarations = declared(public)
    if privacy is not None:
        planned = plan_privacy(
            config, privacy, method, clients=material.clients, coordinates=material.coordinates
        )
        defense = replace(defense, releases=planned.releases)
        declarations += planned.declarations
        if planned.steps is not None:
            branch = entropy.branch("method")
            method = build_method(config, backbone, task, root, planned.steps, branch, material.work, public)
    declarations += _compressed(config, method, defense)
    return Setup(
        config,
        backbone,
        material.data,
        material.partition,
        Clients(material.clients, method.takes_part),
        method,
        defense,
        entropy,
        declarations,
    )


def _compressed(config: RunConfig, method: Method, defense: Defense) -> tuple[PublicDeclaration, ...]:
    """What compression takes as public; it is found to fit the uploads before anything is spent."""
    spec = config.defense.compression
    if spec is None:
        return ()
    asked = dict(method.asks(number) for number in range(method.rounds))
    wanted = {kind: layout for kind, layout in asked.items() if compresses(spec, kind)}
    if not wanted:
        raise UserError(
            f"defense.compression.kinds is {list(spec.kinds)}, and clients upload {[str(kind) for kind in asked]}",
            "name one of those, or leave defense.compression out",
        )
    for kind, layout in wanted.items():
        defense.release(kind, layout).travels(layout)
    return (
        PublicDeclaration(
            f"the random projection of {' and '.join(map(str, wanted))}",
            "drawn from the configuration's seed and the round's number",
        ),
    )


def _held_out(config: RunConfig) -> float:
    """Share of each client's examples that the guard's round asks about; none where there is no such round."""
    frozen = isinstance(config.method, IclSpec) and config.method.frozen
    return 0.0 if frozen else config.evaluation.validation_fraction


def _front(config: RunConfig) -> int:
    """Virtual tokens that the method puts in front of every text."""
    return config.method.length if isinstance(config.method, FicpdSpec) else 0


def _split_by_content(config: RunConfig) -> bool:
    privacy = config.defense.privacy
    return privacy is not None and privacy.unit == "example"


def entropy_of(config: RunConfig) -> Entropy:
    """Where the run's randomness comes from: the system, or in a simulation the seed."""
    return InsecureSeeded(config.seed, "run") if config.simulation else SecureEntropy()


def _check_texts(backbone: Backbone, data: TaskData, clients: Sequence[Client], front: int) -> None:
    """Refuse label words and texts that the model cannot take, before anything is computed or written.

    Args:
        backbone: the model.
        data: the task and its texts.
        clients: who holds what.
        front: virtual tokens in front of every text.
    """
    task = data.task
    if task.kind is TaskKind.GENERATION:
        room = task.max_new_tokens
    else:
        room = max(map(len, label_tokens(backbone, task).tokens))
    behind = f" behind {front} tokens of method.length" if front else ""
    for client in clients:
        for found in tokenize_all(backbone, task, (*client.train, *client.validation)):
            backbone.check_length(
                [*found.ids, *range(front)], f"an example of client {client.number}{behind}"
            )
    prompts = backbone.encode_prompts([task.prompt(query.text) for query in data.test])
    for query, ids in zip(data.test, prompts, strict=True):
        backbone.check_length(
            [*ids, *range(room + front)],
            f"a test example of task {task.name} of {len(query.text)} characters{behind}",
        )


def check_pins(config: RunConfig, task: Task) -> None:
    """Refuse a wording, or a token to be read, that this end has not pinned; before the model reads a private text.

    Raises:
        UserError: the configuration asks for anything else.
    """
    found = task_hash(task)
    if config.pin.task not in (None, found):
        raise UserError(
            f"the task that this run asks for is worded with hash {found}, and pin.task is {config.pin.task}",
            "take no part in it, or read its template and label words and pin that hash",
        )
    position = config.method.position if isinstance(config.method, IclSpec) else None
    if config.pin.position is not None and position not in (None, config.pin.position):
        raise UserError(
            f"this run reads the token method.position {position}, and pin.position is {config.pin.position}",
            "take no part in it, or pin that position",
        )


def load_backbone(config: RunConfig) -> Backbone:
    """The backbone that a configuration names."""
    path = str(MODEL_PATH) if config.backbone.path == "embedded" else config.backbone.path
    return Backbone.load(path, dtype=config.backbone.dtype, device=config.backbone.device)


def data_root(config: RunConfig) -> Path | None:
    """Where relative data paths start: the configuration's ``data_root``, else IFEDPRIV_DATA."""
    root = config.data_root or os.environ.get("IFEDPRIV_DATA")
    return Path(root) if root else None
