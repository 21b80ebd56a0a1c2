"""A run's configuration: frozen sections, read from YAML by 1.2 rules, every mistake one sentence with its path.

YAML 1.2 matters for privacy: by 1.1 rules, which most readers follow, ``delta: 1e-6`` is text and ``off`` is
a truth value. ``extends:`` names a file to start from, and ``--set a.b=c`` changes one value. A section
that does not say its kind changes the default one; a section that changes its kind starts anew.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from defenses.privacy_specs import PublicSpec
from defenses.specs import ClearSpec, DefenseSpec, MaskedSpec
from ifedpriv.config_mistakes import mistake
from ifedpriv.data.specs import DataSpec, DirichletPartition, EmbeddedData, PartitionSpec
from ifedpriv.errors import UserError
from ifedpriv.federation.cohort import CohortSpec
from ifedpriv.methods.specs import ClustersSpec, FicpdSpec, IclSpec, IfedIclSpec, MethodSpec, PrototypeIclSpec

SCHEMA: Literal[1] = 1

Tags = Mapping[str, "str | Tags"]
"""Which field of a section says its kind; for a section of sections, the same of each."""

TAGS: Tags = {
    "data": "source",
    "partition": "kind",
    "method": "kind",
    "defense": "kind",
    "controls": {"other": "source"},
}
"""The field of each section of a run that says which kind of section it is."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BackboneSection(_Section):
    """The frozen model.

    Attributes:
        path: ``embedded`` for the model that ships with the package, or a directory, or a hub name.
        dtype: the type the model computes in; vectors and coefficients are kept in float32 whatever it is.
        device: where it computes, in torch's words: ``cpu``, ``cuda``, ``cuda:1``.
    """

    path: str = "embedded"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "cpu"


class EvaluationSection(_Section):
    """What is measured beside the method. Test data never decides anything.

    Attributes:
        shots: the most demonstrations in a client's own prompt (local ICL).
        local_icl: measure what each client's own prompt answers.
        local_injection: measure what each client's own vector and coefficients answer.
        every_round: score the injection on the test examples after every coefficient round, for the curve.
        validation_fraction: share of each client's examples that it holds out for the guard, rounded down.
        batch_size: test prompts per forward pass.
        membership: attack the final artifact with a loss threshold (Yeom): can the clients' training examples be told
            from test examples? It reads private data, as only a simulation can; left out, it is measured where
            ``simulation`` is on, and not otherwise.
        target: a value of the primary metric, fixed before the run. Every trained round is then scored on the task's
            validation texts, and the report says after how many rounds, bytes and queries the median of three scores
            reached it.
    """

    shots: int = Field(8, ge=1)
    local_icl: bool = True
    local_injection: bool = True
    every_round: bool = True
    validation_fraction: float = Field(0.2, ge=0, lt=1)
    batch_size: int = Field(64, ge=1)
    membership: bool | None = None
    target: float | None = Field(None, gt=0, le=1)


class ControlsSection(_Section):
    """What stands beside IFed-ICL to tell what its vector adds: the same calibration with other vectors in its place.

    Attributes:
        enabled: measure them; ``--no-controls`` is the same as false. Methods without a vector have none.
        public: the texts of the public mean; left out, those of ``defense.privacy.public``, else its defaults. Only the
            shipped tasks have public texts without a path.
        other: the task whose vector stands in for the run's; left out, a shipped task that sorts by something else
            where the run's own task is shipped, and none otherwise.
    """

    enabled: bool = True
    public: PublicSpec | None = None
    other: DataSpec | None = None


class PinSection(_Section):
    """What this end insists on, whoever has written the rest: a run that asks for anything else is refused.

    A client whose configuration comes from a server pins both in a file of its own, which ``extends`` the server's.

    Attributes:
        task: SHA-256 of the task's wording in hexadecimal, as a refusal and ``view.json`` write it; left out, any.
        position: the token that may stand for a demonstration; left out, any.
    """

    task: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    position: Literal["last", "label", "prompt_end"] | None = None


class RunConfig(_Section):
    """One experiment, whole. The defaults are the quickstart.

    Attributes:
        schema_version: version of this format.
        name: names the run and, where ``--out`` is not given, its folder ``runs/NAME``.
        seed: fixes clients, batches, cohorts and failures.
        simulation: randomness of the defense comes from the seed, and the statement says that nobody is protected.
            False takes the system's secure source. Without a defense nothing is drawn from either.
        threads: processor threads of the model.
        record_view: record every frame, in both directions, in the run's folder ``view``.
        data_root: where relative data paths start; left out, the environment variable ``IFEDPRIV_DATA``, else the
            working directory.
        backbone: the frozen model.
        data: the task and its texts; ``source`` says which of four.
        partition: who holds which examples; ``kind`` says which of five.
        method: what clients and server compute; ``kind`` says which.
        cohort: who takes part and who fails.
        defense: what stands between client and server; ``kind`` says which of four.
        evaluation: what is measured beside the method.
        controls: what is measured to tell what the vector adds.
        pin: what this end insists on, whoever has written the rest.
    """

    schema_version: Literal[1] = SCHEMA
    name: str = Field("quickstart", pattern=r"^[A-Za-z0-9._-]{1,80}$")
    seed: int = Field(0, ge=0)
    simulation: bool = True
    threads: int = Field(2, ge=1)
    record_view: bool = True
    data_root: str | None = None
    backbone: BackboneSection = BackboneSection()
    data: DataSpec = EmbeddedData(name="topic")
    partition: PartitionSpec = DirichletPartition(clients=8, examples_per_client=32, min_examples=4)
    method: Annotated[MethodSpec, Field(discriminator="kind")] = IfedIclSpec()
    cohort: CohortSpec = CohortSpec()
    defense: DefenseSpec = ClearSpec()
    evaluation: EvaluationSection = EvaluationSection()
    controls: ControlsSection = ControlsSection()
    pin: PinSection = PinSection()

    @model_validator(mode="after")
    def _guard_needs_held_out_examples(self) -> RunConfig:
        if (
            isinstance(self.method, IclSpec)
            and self.method.guard
            # With frozen public coefficients no round asks about held-out examples.
            and not self.method.frozen
            and self.evaluation.validation_fraction == 0
        ):
            raise ValueError(
                "method.guard is on and evaluation.validation_fraction is 0; hold examples out or switch the guard off"
            )
        return self

    @model_validator(mode="after")
    def _groups_are_large_enough(self) -> RunConfig:
        groups = self.defense.groups if isinstance(self.defense, MaskedSpec) else 1
        asked = self.cohort.size(self.partition.clients)
        if isinstance(self.defense, MaskedSpec) and groups > 1 and asked // groups < self.defense.min_clients:
            raise ValueError(
                f"defense.groups is {groups}, which leaves {asked // groups} of {asked} clients in a group, fewer than "
                f"defense.min_clients {self.defense.min_clients}; use fewer groups or more clients"
            )
        return self

    @model_validator(mode="after")
    def _clusters_fit(self) -> RunConfig:
        clients, asked = self.partition.clients, self.cohort.size(self.partition.clients)
        if isinstance(self.method, FicpdSpec):
            sizes = [
                ("clusters", self.method.clusters, clients),
                ("min_members", self.method.min_members, asked),
            ]
        elif isinstance(self.method, PrototypeIclSpec):
            found = self.method.clusters
            number = 1 if found.number == "auto" else found.number
            sizes = [
                ("clusters.number", number, clients),
                ("clusters.min_members", found.min_members, clients),
            ]
            self._prototypes_fit(found)
        else:
            return self
        for name, value, there in sizes:
            if value > there:
                raise ValueError(
                    f"method.{name} is {value}, and a round asks {there} of {clients} clients; use at most {there}"
                )
        if isinstance(self.defense, MaskedSpec) and self.defense.groups > 1:
            raise ValueError(
                f"defense.groups is {self.defense.groups} and method.kind is {self.method.kind!r}, whose clusters are "
                "parts of one sum, and a median of groups has no parts; use 1"
            )
        return self

    def _prototypes_fit(self, clusters: ClustersSpec) -> None:
        if clusters.found_by == "oracle" and not self.simulation:
            raise ValueError(
                "method.clusters.found_by is 'oracle' and simulation is false, where nobody knows the groups; use "
                "moments"
            )
        if self.defense.compression is not None:
            raise ValueError(
                "defense.compression is on and method.kind is 'prototype_icl', whose sums have counts beside the "
                "vectors that must arrive exactly; leave it out"
            )
        privacy = self.defense.privacy
        if privacy is not None and privacy.vector.rank:
            raise ValueError(
                f"defense.privacy.vector.rank is {privacy.vector.rank} and method.kind is 'prototype_icl', whose "
                "uploads have a block for each cluster; use rank 0"
            )

    @model_validator(mode="after")
    def _privacy_fits(self) -> RunConfig:
        privacy = self.defense.privacy
        if privacy is None:
            return self
        if privacy.trust == "distributed" and self.defense.kind == "none":
            raise ValueError(
                "defense.privacy.trust is 'distributed' and defense.kind is 'none', so the server would read each "
                "client's upload with its share of the noise alone; use masked, bfv or ckks, or trust local"
            )
        if privacy.unit == "client":
            if self.method.aggregation != "uniform":
                raise ValueError(
                    f"defense.privacy.unit is 'client' and method.aggregation is {self.method.aggregation!r}; a client "
                    "that is hidden cannot weigh more than another, so use uniform"
                )
            return self
        if not isinstance(self.method, IfedIclSpec):
            raise ValueError(
                f"defense.privacy.unit is 'example', and method.kind {self.method.kind!r} does not bound what one "
                "example does; use ifed_icl, or privacy.unit client"
            )
        if self.method.aggregation != "count":
            raise ValueError(
                f"defense.privacy.unit is 'example' and method.aggregation is {self.method.aggregation!r}; the bound "
                "holds for sums over examples, so use count"
            )
        return self

    @model_validator(mode="after")
    def _other_task_is_another(self) -> RunConfig:
        other = self.controls.other
        if other is not None and _texts_of(other) == _texts_of(self.data):
            raise ValueError(
                "controls.other reads the texts of data, so that its vector would be no control; name another task"
            )
        return self

    def to_yaml(self) -> str:
        """The configuration as YAML; reading it back gives an equal one."""
        stream = io.StringIO()
        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.dump(self.model_dump(mode="json"), stream)
        return stream.getvalue()


def _texts_of(spec: DataSpec) -> tuple[object, ...]:
    """What tells one task's texts from another's: where they come from, whatever is taken of them."""
    where = ("path", "train") if spec.source == "files" else ("name", "config")
    return (spec.source, *(getattr(spec, field, None) for field in where))


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration.

    Args:
        path: a YAML file; None for the defaults.
        overrides: ``a.b=c`` strings, applied in order; values are read as YAML.

    Raises:
        UserError: naming the field, the value and the remedy.
    """
    data = read_yaml(path) if path is not None else {}
    for override in overrides:
        change(data, override)
    return parse_config(data, str(path) if path is not None else "the configuration")


def parse_config(data: Mapping[str, Any], source: str) -> RunConfig:
    """Validate a nested mapping; ``source`` names it in errors."""
    defaults = RunConfig().model_dump(mode="json")
    whole = dict(data)
    for section, tag in TAGS.items():
        given = data.get(section)
        if isinstance(tag, str) and isinstance(given, Mapping) and tag not in given:
            whole[section] = {**_merge(defaults[section], given, {}), tag: defaults[section][tag]}
    try:
        return RunConfig.model_validate(whole)
    except ValidationError as error:
        raise UserError(mistake(error, source)) from error


def read_yaml(path: Path, tags: Tags = TAGS, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A YAML file's mapping, merged over those that it extends.

    Args:
        path: the file.
        tags: which sections have kinds.
        seen: the files that led here.
    """
    path = path.resolve()
    if path in seen:
        raise UserError(f"extends runs in a circle through {path}", "let one of the files extend nothing")
    if not path.is_file():
        raise UserError(
            f"configuration {path} does not exist", "give the path of a YAML file, such as one in configs/"
        )
    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(
            f"configuration {path} is not UTF-8 at byte {error.start}", "save it as UTF-8"
        ) from error
    except YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(
            f"configuration {path}{line} is not YAML: {problem}", "mend the file there"
        ) from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise UserError(
            f"configuration {path} holds a {type(data).__name__}", "write key: value lines at its top level"
        )
    base = data.pop("extends", None)
    if base is None:
        return data
    return _merge(read_yaml(path.parent / str(base), tags, (*seen, path)), data, tags)


def _merge(base: dict[str, Any], over: Mapping[str, Any], tags: Tags) -> dict[str, Any]:
    """``over`` wins; a section whose tag changes is replaced whole."""
    result = dict(base)
    for key, value in over.items():
        old, tag = result.get(key), tags.get(key)
        other_kind = isinstance(old, dict) and isinstance(value, dict) and _changes_kind(old, value, key, tag)
        if isinstance(old, dict) and isinstance(value, dict) and not other_kind:
            result[key] = _merge(old, value, tag if isinstance(tag, Mapping) else {})
        else:
            result[key] = value
    return result


def _changes_kind(
    old: Mapping[str, Any], new: Mapping[str, Any], section: str, tag: str | Tags | None
) -> bool:
    if not isinstance(tag, str) or tag not in new:
        return False
    default = RunConfig().model_dump(mode="json").get(section) or {}
    return bool(old.get(tag, default.get(tag)) != new[tag])


def change(data: dict[str, Any], override: str) -> None:
    """Apply one ``a.b=c`` to a run's mapping; the value is read as YAML."""
    name, equals, text = override.partition("=")
    if not equals or not name:
        raise UserError(f"--set is {override!r}", "write it as section.field=value")
    try:
        value = YAML(typ="safe", pure=True).load(text) if text else ""
    except YAMLError as error:
        raise UserError(f"--set {name} is {text!r}, which is not YAML", "quote the value") from error
    section, tags = data, TAGS
    *parents, last = name.split(".")
    for parent in parents:
        outer, tag = section, tags.get(parent)
        # A section that was left out may stand there as null.
        section = {} if outer.get(parent) is None else outer[parent]
        if not isinstance(section, dict):
            raise UserError(
                f"--set {name} goes through {parent}, which is a value", "name a field that exists"
            )
        if last == tag and _changes_kind(section, {last: value}, parent, tag):
            section = {}
        outer[parent] = section
        tags = tag if isinstance(tag, Mapping) else {}
    section[last] = value
