"""What `ifedpriv curve` is asked: one run as a template, and what is varied over it.

The invariant: every run of a curve is checked before the first one begins, and each is a plain `RunConfig`, so that
`ifedpriv run` repeats any point of a curve by itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)
from ruamel.yaml import YAML

from ifedpriv.config import TAGS, RunConfig, change, parse_config, read_yaml
from ifedpriv.config_mistakes import mistake
from ifedpriv.data.specs import Seed
from ifedpriv.errors import UserError
from ifedpriv.experiment import control_plan
from ifedpriv.experiment.curve.keys import NO_PRIVACY, PRIVATE, ZERO_SHOT, Key
from ifedpriv.methods.specs import IfedIclSpec

SCHEMA: Literal[1] = 1

UnitName = Literal["example", "client"]
TrustName = Literal["central", "distributed", "local"]
ControlName = Literal["zero_vector", "random_vector", "public_mean", "other_task"]
_RUN = "run."


class CurveConfig(BaseModel):
    """A curve, whole.

    Attributes:
        schema_version: version of this format.
        name: names the curve and, where ``--out`` is not given, its folder ``runs/NAME-curve``.
        run: the run that is repeated, as `ifedpriv run` takes it. Its ``defense.privacy`` is the template of all
            points: unit, trust and epsilon are those of each point, and so are the seeds.
        epsilons: budgets of a whole run, above 0; ``.inf`` is the same run without privacy.
        units: whose presence is hidden; each gives curves of its own. Aggregation is by count for examples, and uniform
            for clients.
        trusts: who adds the noise; each gives curves of its own. ``distributed`` needs a defense that hides single
            uploads.
        attack: test at each private point how often one unit is found in the noised vectors by whoever knows all else.
        repeats: how often each point is measured, with seeds 0, 1, 2 and so on.
        controls: what is measured beside each point: another vector, calibrated in the same way; ``[]`` for nothing, as
            with ``run.controls.enabled: false``. The vector's share needs ``public_mean``.
        seeds: the seeds themselves, in place of ``repeats``. A seed fixes the texts, who holds them, batches, failures
            and noise.
        workers: processes that measure points, each with one thread; left out, one for each of the machine's cores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA
    name: str = Field("curve", pattern=r"^[A-Za-z0-9._-]{1,80}$")
    run: RunConfig = RunConfig()
    epsilons: tuple[Annotated[float, Field(gt=0)], ...] = (0.1, 0.25, 0.5, 1, 2, 4, 8, math.inf)
    units: tuple[UnitName, ...] = ("example",)
    trusts: tuple[TrustName, ...] = ("central",)
    controls: tuple[ControlName, ...] = ("zero_vector", "random_vector", "public_mean", "other_task")
    attack: bool = Field(True, strict=True)
    repeats: int = Field(5, ge=1, strict=True)
    seeds: tuple[Seed, ...] | None = None
    workers: int | None = Field(None, ge=1, le=256, strict=True)

    @field_validator("epsilons", "units", "trusts", "seeds")
    @classmethod
    def _some(cls, values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if values == ():
            raise ValueError("the list is empty; give at least one")
        return values

    @field_validator("epsilons", "units", "trusts", "seeds", "controls")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if values is None:
            return None
        if len(set(values)) < len(values):
            raise ValueError("a value stands twice in the list; give each once")
        return values

    @field_validator("epsilons")
    @classmethod
    def _sorted(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not any(map(math.isfinite, values)):
            raise ValueError("no budget is finite, so there is no curve; give at least one such as 1")
        return tuple(sorted(values))

    @field_serializer("epsilons", when_used="json")
    def _infinity_as_text(self, values: tuple[float, ...]) -> list[float | str]:
        return [value if math.isfinite(value) else "inf" for value in values]

    @model_validator(mode="after")
    def _runs_can_be_made(self) -> CurveConfig:
        privacy = self.run.defense.privacy
        if privacy is None:
            raise ValueError(
                "run.defense.privacy is missing; give it, if only with delta: it is the template of every point"
            )
        if not self.run.simulation:
            raise ValueError(
                "run.simulation is false, and a curve spends its budget on the same data once a point; leave it true, "
                "and let one run with the chosen epsilon be the deployed one"
            )
        for key in self.all_keys():
            if key.seed == self.all_seeds[0]:
                self.run_of(key)
        return self

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds, ascending."""
        return tuple(range(self.repeats)) if self.seeds is None else tuple(sorted(self.seeds))

    @property
    def all_controls(self) -> tuple[str, ...]:
        """The controls that are asked for and can be had."""
        return tuple(control for control in control_plan.evaluable(self.run) if control in self.controls)

    def lacking(self) -> tuple[str, ...]:
        """Why some that are asked for cannot be had, a sentence each."""
        return tuple(why for key, why in control_plan.lacking(self.run).items() if key in self.controls)

    def all_keys(self) -> list[Key]:
        """All points, in the order of the results: each level's runs, then its controls."""
        found = []
        for seed in self.all_seeds:
            found.append(Key(ZERO_SHOT, seed))
        beside = (None, *self.all_controls)
        for unit in self.units:
            if math.inf in self.epsilons:
                found += [Key(NO_PRIVACY, s, unit, control=c) for c in beside for s in self.all_seeds]
            for trust in self.trusts:
                for epsilon in filter(math.isfinite, self.epsilons):
                    found += [
                        Key(PRIVATE, s, unit, trust, epsilon, c) for c in beside for s in self.all_seeds
                    ]
        return found

    def run_of(self, key: Key) -> RunConfig:
        """The run behind a point; for a control, the run that it stands beside.

        Raises:
            ValueError: no such run can be made; the message says why.
        """
        data = self.run.model_dump(mode="json")
        data |= {"seed": key.seed, "threads": 1, "record_view": False}
        data["data"]["seed"] = key.seed
        data["evaluation"] |= {"local_icl": False, "local_injection": False, "every_round": False}
        unit = key.unit or self.units[0]
        if isinstance(self.run.method, IfedIclSpec) and key.kind != ZERO_SHOT:
            data["method"]["aggregation"] = "count" if unit == "example" else "uniform"
        privacy = dict(data["defense"]["privacy"])
        # Those of the template, also for the runs without privacy.
        data["controls"]["public"] = data["controls"]["public"] or privacy["public"]
        data["defense"]["privacy"] = None
        if key.kind == PRIVATE:
            privacy |= {"unit": unit, "trust": key.trust, "epsilon": key.epsilon}
            if key.trust != "distributed":
                privacy |= {"dropout": 0.0, "colluders": 0.0, "grid": {**privacy["grid"], "wrap": 0.0}}
            data["defense"]["privacy"] = privacy
        try:
            return RunConfig.model_validate(data)
        except ValidationError as error:
            raise ValueError(f"run: {mistake(error, 'it')}") from error

    def digest(self) -> str:
        """Names what the numbers depend on, and so nothing of how the work is spread."""
        text = json.dumps(self.model_dump(mode="json", exclude={"workers", "name"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_yaml(self) -> str:
        """The configuration as YAML; reading it back gives an equal one."""
        stream = io.StringIO()
        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.dump(self.model_dump(mode="json"), stream)
        return stream.getvalue()


def load_curve(path: Path, overrides: Sequence[str] = ()) -> CurveConfig:
    """Read a curve's configuration, with ``extends`` and ``--set`` as a run's.

    Raises:
        UserError: naming the field, the value and the remedy.
    """
    data = read_yaml(path, {"run": TAGS})
    for override in overrides:
        if override.startswith(_RUN) and isinstance(data.setdefault("run", {}), dict):
            change(data["run"], override.removeprefix(_RUN))
        else:
            change(data, override)
    return parse_curve(data, str(path))


def parse_curve(data: Mapping[str, Any], source: str) -> CurveConfig:
    """Validate a nested mapping; ``source`` names it in errors."""
    whole = dict(data)
    run = whole.get("run")
    if isinstance(run, Mapping):
        try:
            whole["run"] = parse_config(_with_epsilon(run), "run")
        except UserError as error:
            raise UserError(error.message if error.message.startswith("run") else f"run: {error}") from error
    try:
        return CurveConfig.model_validate(whole)
    except ValidationError as error:
        raise UserError(mistake(error, source)) from error


def _with_epsilon(run: Mapping[str, Any]) -> dict[str, Any]:
    """A template may leave epsilon out, since every point has its own."""
    result = dict(run)
    defense = run.get("defense")
    if isinstance(defense, Mapping) and isinstance(defense.get("privacy"), Mapping):
        result["defense"] = {**defense, "privacy": {"epsilon": 1.0, **defense["privacy"]}}
    return result
