"""What `ifedpriv coefficients` is asked: a model, public tasks, and how the coefficients are calibrated on them.

The invariant: whatever a number in the file depends on stands here, and travels in the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from ifedpriv.config import BackboneSection, change, read_yaml
from ifedpriv.config_mistakes import mistake
from ifedpriv.data.specs import DataSpec, Seed
from ifedpriv.errors import UserError

SCHEMA: Literal[1] = 1
EMBEDDED = "embedded"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PublicTaskSpec(_Section):
    """One public task.

    Attributes:
        kind: what it has in common with others; a set of coefficients is calibrated for each kind.
        data: its texts, as in a run; nobody's secret. Train texts make vectors, test texts are the queries.
    """

    kind: str = Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")
    data: DataSpec


def _sort_of_tasks(value: Any) -> str:
    """So that a mistake in a list of tasks is told as one, and not as a word that is not 'embedded'."""
    return "named" if isinstance(value, str) else "listed"


_Tasks = Annotated[
    Annotated[Literal["embedded"], Tag("named")] | Annotated[tuple[PublicTaskSpec, ...], Tag("listed")],
    Discriminator(_sort_of_tasks),
]


class CoefficientsConfig(_Section):
    """One file of public coefficients, whole.

    Attributes:
        schema_version: version of this format.
        backbone: the frozen model, as in a run.
        tasks: ``embedded`` for the conventions of the embedded world that no shipped task uses, or a list of tasks.
        data_root: where relative data paths start; left out, the environment variable ``IFEDPRIV_DATA``, else the
            working directory.
        seed: fixes texts, examples, batches and noise.
        threads: processor threads of the model.
        position: the token that stands for a demonstration; runs must say the same.
        examples: texts of each task that vectors are made of, at most.
        blanks: of these, as many with labels drawn at random stand for what is public about the task.
        queries: texts of each task that are asked about, at most.
        kept_apart: share of each kind's tasks that is not calibrated on and says what the coefficients are good for,
            rounded down.
        noise: levels of noise on the vectors, in units of a block's public size; a set of coefficients is calibrated
            for each, and a run takes the one nearest to its own.
        steps: of Adam for the first level of a kind; half as many for each further one, which goes on from there.
        batch_size: queries a step.
        rate: Adam's learning rate at the first step.
        fewest: examples behind a vector, at least.
        most: and at most.
        trial_examples: examples behind a vector of a task that was kept apart.
        trial_steps: in which coefficients are fitted to such a vector, without labels, as a run's ``public_steps``.
    """

    schema_version: Literal[1] = SCHEMA
    backbone: BackboneSection = BackboneSection()
    tasks: _Tasks = "embedded"
    data_root: str | None = None
    seed: Seed = 0
    threads: int = Field(1, ge=1)
    position: Literal["last", "label", "prompt_end"] = "label"
    examples: int = Field(192, ge=4)
    blanks: int = Field(64, ge=1)
    queries: int = Field(64, ge=1)
    kept_apart: float = Field(0.125, ge=0, lt=1)
    noise: tuple[Annotated[float, Field(ge=0, le=10)], ...] = (0.0, 0.03, 0.1)
    steps: int = Field(300, ge=1)
    batch_size: int = Field(16, ge=1)
    rate: float = Field(0.05, gt=0)
    fewest: int = Field(8, ge=1)
    most: int = Field(192, ge=1)
    trial_examples: int = Field(64, ge=1)
    trial_steps: int = Field(30, ge=0)

    @field_validator("noise")
    @classmethod
    def _rising(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if not levels or len(set(levels)) < len(levels):
            raise ValueError("give at least one level, and each once")
        return tuple(sorted(levels))

    @model_validator(mode="after")
    def _fits(self) -> CoefficientsConfig:
        if not self.tasks:
            raise ValueError("tasks is empty; give at least one, or 'embedded'")
        if self.fewest > self.most:
            raise ValueError(f"fewest is {self.fewest} and most is {self.most}; fewest may not be above most")
        if self.fewest > self.examples:
            raise ValueError(
                f"fewest is {self.fewest} and examples is {self.examples}; a vector cannot take more than there are"
            )
        return self

    def digest(self) -> str:
        """Names what the numbers depend on: everything but the threads."""
        text = self.model_dump_json(exclude={"threads"})
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_coefficients_config(backbone: str, tasks: str, overrides: Sequence[str] = ()) -> CoefficientsConfig:
    """From what the command line says.

    Args:
        backbone: ``embedded``, a folder, or a hub name.
        tasks: ``embedded``, or the path of a YAML file with ``tasks`` and whatever else is to differ.
        overrides: ``a.b=c`` strings, applied in order.

    Raises:
        UserError: naming the field, the value and the remedy.
    """
    data: dict[str, Any] = {} if tasks == EMBEDDED else read_yaml(Path(tasks), {})
    source = "the settings" if tasks == EMBEDDED else tasks
    if tasks != EMBEDDED and "tasks" not in data:
        raise UserError(f"{tasks} has no field tasks", "list public tasks under it, each with kind and data")
    section = data.setdefault("backbone", {})
    if isinstance(section, dict):
        section["path"] = backbone
    for override in overrides:
        change(data, override)
    return parse_coefficients_config(data, source)


def parse_coefficients_config(data: Mapping[str, Any], source: str) -> CoefficientsConfig:
    """Validate a nested mapping; ``source`` names it in errors."""
    try:
        return CoefficientsConfig.model_validate(data)
    except ValidationError as error:
        raise UserError(mistake(error, source, {"named", "listed"})) from error
