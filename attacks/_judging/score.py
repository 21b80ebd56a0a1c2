"""The only file that opens the truth: it says what is publicly known of a recording, and whose texts are behind it.

The invariant: truth flows from here to the judge and never to an attack. What an attack is handed is a `ServerView`,
the public model and a `Knowledge`; of private texts, only those in a pool are in it, among others and in a drawn order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from attacks._base.attack import Knowledge, Others, Progress, Who, silent
from attacks._base.declared import Declared
from attacks._base.defaults import SHADOWS
from attacks._base.targets import OwnUpload, own_block
from defenses.compression import compresses
from defenses.dp.release import ARRAY
from defenses.upload import UploadKind
from defenses.view import ServerView
from defenses.view_facts import Computes
from defenses.view_lacks import lacks
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import RunConfig, load_config
from ifedpriv.data import shipped
from ifedpriv.data.jsonl import read_jsonl
from ifedpriv.data.loaders import load_task_data
from ifedpriv.data.specs import EmbeddedData
from ifedpriv.data.task import Example, Task, TaskData, key_of
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.errors import InputError, UserError
from ifedpriv.experiment.facts import task_hash
from ifedpriv.experiment.prepare import data_root, load_backbone, prepare
from ifedpriv.icl.calibrate import CalibrationPlan
from ifedpriv.icl.extract import extract
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.prompts import Position
from ifedpriv.methods.ifed_icl import calibration_plan
from ifedpriv.methods.specs import IclSpec, IfedIclSpec

_PUBLIC_SEED = 1_000_003
"""Added to a run's data seed: public texts of a shipped task come from the same writer with another seed."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the auditor asks for.

    Attributes:
        config: configuration of a bare recording's model and task.
        public: JSON Lines of public texts, in place of those that come with the task.
        pool_file: JSON Lines of candidates, in place of a drawn pool.
        pool: number of candidates of a drawn pool.
        covered: share of the true texts that a drawn pool holds.
        public_texts: the most public texts that are used.
        declared: clip and noise that are known to everybody.
        strong: hand out all examples but one of every vector, for the strongest adversary.
        shadows: how many an attack compares with.
        own_config: the configuration of a bare recording is that of the run itself, so that its texts can be made anew.
        seed: of every draw.
        methods: names of those to run; empty for an attack's default.
    """

    config: Path | None = None
    public: Path | None = None
    pool_file: Path | None = None
    pool: int = 2000
    covered: float = 1.0
    public_texts: int = 1000
    declared: Declared = field(default_factory=Declared)
    strong: bool = False
    shadows: int = SHADOWS
    own_config: bool = False
    seed: int = 0
    methods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Subject:
    """A recording with all that is publicly known of it, and the truth where it is at hand.

    Attributes:
        view: the recording.
        backbone: the public model.
        knowledge: what attacks are handed.
        truth: each client's examples, by number; None where nobody knows them here.
        why_no_truth: one sentence; empty where there is truth.
        lacks: what is missing from the recording as it was opened, half a sentence; empty for nothing.
        told: uploads of colluding clients, by number.
    """

    view: ServerView
    backbone: Backbone
    knowledge: Knowledge
    truth: Mapping[int, tuple[Example, ...]] | None
    why_no_truth: str = ""
    lacks: str = ""
    told: Mapping[int, OwnUpload] = field(default_factory=dict)


def open_subject(path: Path, wishes: Wishes, progress: Progress = silent) -> Subject:
    """A run directory, or the bare folder of a recording, as something to attack.

    Raises:
        UserError: there is no recording, or what is given does not belong to it.
    """
    is_run = (path / "config.yaml").is_file()
    if is_run and not (path / "view").is_dir():
        raise UserError(
            f"{path} has no recording", "run it with record_view: true; without one nothing can be attacked"
        )
    view = ServerView.open(path / "view" if is_run else path)
    missing = lacks(view)
    config = (
        load_config(path / "config.yaml" if is_run else wishes.config) if is_run or wishes.config else None
    )
    backbone = _backbone(view, config)
    data, position = _public_agreement(view, config)
    truth = _truth(view, backbone, config, data) if config and (is_run or wishes.own_config) else None
    public, provenance = public_texts(config, data, wishes)
    knowledge = Knowledge(
        task=data.task,
        position=position,
        public=public,
        labelled=bool(public) and all(example.label >= 0 for example in public),
        provenance=provenance,
        declared=wishes.declared,
        plans=_plans(config, backbone),
        artifact=_artifact(path, backbone) if is_run else None,
        shadows=wishes.shadows,
        seed=wishes.seed,
        methods=wishes.methods,
        progress=progress,
    )
    pool = _pool(config, data, truth, wishes)
    why = "" if truth is not None else "a bare recording says nothing of whose texts are behind it"
    others = all_but_one(view, truth, pool, wishes.seed) if wishes.strong and truth is not None else {}
    return Subject(view, backbone, replace(knowledge, pool=pool, others=others), truth, why, missing)


# ---- what is public


def _backbone(view: ServerView, config: RunConfig | None) -> Backbone:
    backbone = load_backbone(config) if config else Backbone.load(MODEL_PATH)
    if backbone.fingerprint != view.facts.backbone:
        what = "its configuration names" if config else "ships with the package"
        raise UserError(
            f"the view was recorded with model {view.facts.backbone[:12]}, and the one that {what} is "
            f"{backbone.fingerprint[:12]}",
            "give the configuration that names the recorded model, with --config",
        )
    return backbone


def _public_agreement(view: ServerView, config: RunConfig | None) -> tuple[TaskData, Position]:
    """The task's wording with its data, and the agreed position; for a bare recording, the shipped task it names."""
    if config is not None:
        data = load_task_data(config.data, data_root(config))
        position = config.method.position if isinstance(config.method, IclSpec) else "label"
        if task_hash(data.task) != view.facts.task:
            raise UserError(
                f"the view was recorded with another template or other label words than task {data.task.name!r} has",
                "give the configuration of the run that was recorded",
            )
        return data, Position(position)
    for name in shipped.task_names():
        data = shipped.load(name, train=6, validation=1, test=1)
        if task_hash(data.task) == view.facts.task:
            return data, Position.LABEL
    raise UserError(
        "the view's task is none that ships with the package",
        "give the configuration that words it, with --config",
    )


def _plans(config: RunConfig | None, backbone: Backbone) -> Mapping[int, CalibrationPlan]:
    """How clients calibrate, by round; nothing where coefficients are frozen or there are none."""
    if config is None or not isinstance(config.method, IfedIclSpec) or config.method.frozen:
        return {}
    rounds = range(1, 1 + config.method.calibration.rounds)
    return {number: calibration_plan(config.method, backbone.n_layers, number) for number in rounds}


def _artifact(path: Path, backbone: Backbone) -> Injection | None:
    """The injection that a run has made; None if it has none."""
    if not (path / "injection.safetensors").is_file():
        return None
    found = Injection.load(path / "injection.safetensors")
    found.check(backbone)
    return found


def public_texts(config: RunConfig | None, data: TaskData, wishes: Wishes) -> tuple[tuple[Example, ...], str]:
    """Texts that are no client's, and where they come from, in words."""
    if wishes.public is not None:
        return _read_examples(wishes.public, data.task), f"the file {wishes.public.name}"
    if config is None or isinstance(config.data, EmbeddedData):
        seed = (config.data.seed if config and isinstance(config.data, EmbeddedData) else 0) + _PUBLIC_SEED
        made = shipped.load(data.task.name, seed=seed, train=wishes.public_texts, validation=1, test=1)
        return tuple(made.train), "the shipped writer, with another seed"
    return tuple(data.validation[: wishes.public_texts]), "the task's validation split, which no client holds"


def _read_examples(path: Path, task: Task) -> tuple[Example, ...]:
    if not path.is_file():
        raise InputError(f"{path} does not exist", "give a JSON Lines file with text and label")
    examples = []
    for row in read_jsonl(path).rows:
        text, label = row.fields.get("text"), row.fields.get("label", row.fields.get("answer"))
        if not isinstance(text, str):
            raise InputError(
                f"{path} has a row without a text", 'write rows as {"text": "...", "label": "..."}'
            )
        if task.n_classes and label is not None and label not in task.label_words:
            raise InputError(
                f"{path} has the label {label!r}, which is no label word",
                f"use {', '.join(task.label_words)}",
            )
        if not task.n_classes:
            examples.append(Example(text, answer=str(label or "")))
            continue
        # As data sets make them: what a class is called is the task's, and no answer of the example's own.
        examples.append(Example(text, label=-1 if label is None else task.label_words.index(str(label))))
    return tuple(examples)


def _pool(
    config: RunConfig | None,
    data: TaskData,
    truth: Mapping[int, tuple[Example, ...]] | None,
    wishes: Wishes,
) -> tuple[Example, ...]:
    """Candidates: a file's, or true texts among others of the same kind, shuffled."""
    if wishes.pool_file is not None:
        found = _read_examples(wishes.pool_file, data.task)
        if any(example.label < 0 for example in found) and data.task.n_classes:
            raise InputError(
                f"{wishes.pool_file} has a row without a label", "a candidate is a text with its label"
            )
        if truth is not None and not {key_of(e) for e in found} & {
            key_of(e) for held in truth.values() for e in held
        }:
            raise InputError(
                f"pool {wishes.pool_file} holds no text of any client", "add some, or leave --pool-file out"
            )
        return found
    if truth is None or config is None:
        return ()
    if not 0 < wishes.covered <= 1:
        raise InputError(f"--covered is {wishes.covered}", "give a share above 0, at most 1")
    rng = np.random.default_rng([wishes.seed, 3])
    true = list(dict.fromkeys(key_of(example) for held in truth.values() for example in held))
    kept = {true[i] for i in rng.permutation(len(true))[: max(1, round(wishes.covered * len(true)))]}
    hidden = set(true) - kept
    by_key = {
        key_of(example): example for held in truth.values() for example in held if key_of(example) in kept
    }
    others = [e for e in (*data.train, *data.test) if key_of(e) not in kept | hidden]
    # A claim about members needs others to tell them from, also of a run that has more examples than candidates were
    # asked for.
    size = max(wishes.pool, 2 * len(by_key))
    lacking = size - len(by_key) - len(others)
    if isinstance(config.data, EmbeddedData) and lacking > 0:
        seed = config.data.seed + 2 * _PUBLIC_SEED
        more = shipped.load(config.data.name, seed=seed, train=lacking, validation=1, test=1).train
        others += [e for e in more if key_of(e) not in kept | hidden]
    for example in others:
        if len(by_key) >= size:
            break
        by_key.setdefault(key_of(example), example)
    pool = list(by_key.values())
    return tuple(pool[i] for i in rng.permutation(len(pool)))


# ---- the truth


def all_but_one(
    view: ServerView, truth: Mapping[int, Sequence[Example]], pool: Sequence[Example], seed: int
) -> dict[Who, Others]:
    """For every upload and for the aggregate, all examples but one, drawn among those that the pool holds.

    Nothing where the server means within classes: there an example's weight depends on the others' labels.
    """
    rng = np.random.default_rng([seed, 17])
    in_pool = {key_of(example) for example in pool}
    weights = _shares(view, truth)
    found: dict[Who, Others] = {}
    for who, share in [*((Who(n), {n: 1.0}) for n in weights), (Who(None), weights)]:
        rows = [(e, part / len(truth[n])) for n, part in share.items() for e in truth[n]]
        at = [i for i, (example, _) in enumerate(rows) if key_of(example) in in_pool]
        if at:
            hidden = at[int(rng.integers(len(at)))]
            kept = rows[:hidden] + rows[hidden + 1 :]
            found[who] = Others(tuple(e for e, _ in kept), tuple(w for _, w in kept), rows[hidden][1])
    return found


def _shares(view: ServerView, truth: Mapping[int, Sequence[Example]]) -> dict[int, float]:
    """What each client counts in the aggregate: as much as any other, or by its number of examples."""
    singles = Computes.INDIVIDUAL_UPLOADS in view.facts.server_computes
    # Under differential privacy whole numbers travel, and the mean that is released is the only vector.
    frames = [f for f in view.uploads(UploadKind.VECTOR) if ARRAY not in f.upload.arrays] if singles else []
    if not frames:
        singles = False
        frames = [f for f in view.computed(UploadKind.VECTOR) if ARRAY not in f.upload.arrays]
    if any("vector" not in frame.upload.arrays for frame in frames):
        return {}
    if singles:
        senders = [frame.sender for frame in frames]
    else:
        senders = sorted(
            {n for entry in view.facts.rounds if entry.kind is UploadKind.VECTOR for n in entry.roster}
        )
    by_count = sum(frame.upload.weight for frame in frames) > len(senders)
    sizes = {n: float(len(truth[n])) if by_count else 1.0 for n in senders if truth.get(n)}
    return {n: size / sum(sizes.values()) for n, size in sizes.items()}


def _truth(
    view: ServerView, backbone: Backbone, config: RunConfig, data: TaskData
) -> Mapping[int, tuple[Example, ...]]:
    """Each client's training examples, made anew from the configuration, and checked against a recorded vector."""
    clients = prepare(config, backbone=backbone, data=data).clients
    held = {number: tuple(clients[number].train) for number in range(len(clients))}
    _check_truth(view, backbone, config, data.task, held)
    return held


def _check_truth(
    view: ServerView, backbone: Backbone, config: RunConfig, task: Task, held: Mapping[int, Sequence[Example]]
) -> None:
    readable = Computes.INDIVIDUAL_UPLOADS in view.facts.server_computes
    # What a projection has mixed is not attacked.
    compressed = compresses(view.facts.defense.compression, UploadKind.VECTOR)
    if not readable or compressed or not isinstance(config.method, IclSpec):
        return
    for frame in view.uploads(UploadKind.VECTOR):
        arrays = frame.upload.arrays
        recorded = own_block(arrays) if "prototype" in arrays else arrays.get("vector")
        if recorded is None:
            return
        examples = held.get(frame.sender, ())
        if examples:
            made = extract(backbone, task, examples, position=Position(config.method.position)).values
            if np.abs(made - recorded).max() <= 0.2 * np.abs(recorded).max():
                return
        raise UserError(
            f"the vector of client {frame.sender} is not that of the texts that the configuration gives it",
            "attack the recording in the folder of the run that made it, with the same data",
        )
