"""``report.json`` as records: what a run found, in the one form that every other tool reads.

The one invariant: a report that exists is whole and consistent. Every row has the primary metric, the
coefficients fit the backbone, the summary of the rounds is the one its rounds give, and no number is NaN.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

from ifedpriv.errors import InputError
from ifedpriv.report.control_records import ControlsRecord, VectorShare
from ifedpriv.report.measure_records import (
    Estimate,
    FairnessRecord,
    MembershipRecord,
    NumberError,
    PerRound,
    TargetRecord,
)
from ifedpriv.report.parts import (
    CLASSIFICATION,
    CONTROL_ROWS,
    GENERATION,
    GLOBAL_INJECTION,
    GLOBAL_LORA,
    LAST_ROUNDS,
    LOCAL_ICL,
    LOCAL_INJECTION,
    LOCAL_LORA,
    LOCAL_PROMPT,
    MAIN_ROWS,
    META_PROMPT,
    OTHER_TASK,
    PEAK_REMARK,
    PROTOTYPE_INJECTION,
    PROTOTYPE_PROMPT,
    PUBLIC_MEAN,
    RANDOM_VECTOR,
    STANDARD_ROWS,
    ZERO_SHOT,
    ZERO_VECTOR,
    BackboneFacts,
    CoefficientRecord,
    Figure,
    Grid,
    GuardVerdict,
    Holdings,
    PrivacyRecord,
    RoundRecord,
    RoundSummary,
    Row,
    TaskFacts,
    Totals,
    Traffic,
    require,
)
from ifedpriv.report.records import Record, text_to_json

__all__ = [
    "CLASSIFICATION",
    "CONTROL_ROWS",
    "GENERATION",
    "GLOBAL_INJECTION",
    "GLOBAL_LORA",
    "LAST_ROUNDS",
    "LOCAL_ICL",
    "LOCAL_INJECTION",
    "LOCAL_LORA",
    "LOCAL_PROMPT",
    "MAIN_ROWS",
    "META_PROMPT",
    "OTHER_TASK",
    "PEAK_REMARK",
    "PROTOTYPE_INJECTION",
    "PROTOTYPE_PROMPT",
    "PUBLIC_MEAN",
    "RANDOM_VECTOR",
    "SCHEMA_VERSION",
    "STANDARD_ROWS",
    "ZERO_SHOT",
    "ZERO_VECTOR",
    "BackboneFacts",
    "CoefficientRecord",
    "ControlsRecord",
    "Estimate",
    "FairnessRecord",
    "Figure",
    "Grid",
    "GuardVerdict",
    "Holdings",
    "MembershipRecord",
    "NumberError",
    "PerRound",
    "PrivacyRecord",
    "Report",
    "RoundRecord",
    "RoundSummary",
    "Row",
    "TargetRecord",
    "TaskFacts",
    "Totals",
    "Traffic",
    "VectorShare",
]

SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Record):
    """Everything that ``report.json`` holds.

    Attributes:
        schema_version: of this format.
        run: the run's name.
        started: when the run began, as ISO 8601 with its zone; a resumed run keeps its first beginning.
        versions: version of each piece of software that may change a number, by name.
        platform: facts about the machine, by name.
        seeds: what each source of chance started from, by name.
        config: the configuration as resolved.
        backbone: the frozen model.
        task: the task.
        primary_metric: the metric that comes first, and that rounds and guard speak of.
        rows: the table of results.
        rounds: one record a round.
        round_summary: last, mean of the last five, and peak; None where no round was tested.
        coefficients: before and after; None for a method that has none.
        privacy: the statement.
        guard: the verdict; None where there was nothing to judge.
        warnings: what a reader should be told, one sentence each.
        totals: sums over the run.
        controls: what the vector adds, or that it was not asked; None for a method without a vector, and in reports
            that were written before there were controls.
        per_round: traffic and queries of a round; None where there was no round.
        membership: how far training examples can be told from others; None in reports that nobody measured it for.
        target: when the target of the configuration was reached; None where it has none.
        signatures: how metrics that come in many kinds were computed, by metric name.
    """

    OPTIONAL: ClassVar[tuple[str, ...]] = ("controls",)

    schema_version: int = SCHEMA_VERSION
    run: str
    started: str
    versions: Mapping[str, str]
    platform: Mapping[str, str]
    seeds: Mapping[str, int]
    config: Mapping[str, object]
    backbone: BackboneFacts
    task: TaskFacts
    primary_metric: str
    rows: tuple[Row, ...]
    rounds: tuple[RoundRecord, ...]
    round_summary: RoundSummary | None
    coefficients: CoefficientRecord | None
    privacy: PrivacyRecord
    guard: GuardVerdict | None
    warnings: tuple[str, ...]
    totals: Totals
    controls: ControlsRecord | None = None
    per_round: PerRound | None = None
    membership: MembershipRecord | None = None
    target: TargetRecord | None = None
    signatures: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Whether the parts belong together."""
        _check_version(self.schema_version)
        keys = [row.key for row in self.rows]
        require(bool(keys), "rows", "is empty", "a report has at least one result")
        for index, row in enumerate(self.rows):
            require(keys.index(row.key) == index, f"rows[{index}].key", f"repeats {row.key!r}")
            has = self.primary_metric in row.figures
            require(has, f"rows[{index}].figures", f"lack {self.primary_metric[:60]!r}, the primary metric")
        for index, (a, b) in enumerate(zip(self.rounds, self.rounds[1:], strict=False), start=1):
            rising = a.round < b.round
            require(rising, f"rounds[{index}].round", f"is {b.round}, which does not follow {a.round}")
        expected = RoundSummary.of(self.rounds)
        require(
            self.round_summary == expected,
            "round_summary",
            "is not what the rounds give",
            "make it with RoundSummary.of",
        )
        if self.coefficients is not None:
            layers = len(self.coefficients.final)
            fits = layers == self.backbone.layers
            require(fits, "coefficients", f"have {layers} layers, the backbone has {self.backbone.layers}")

    def row(self, key: str) -> Row | None:
        """The row with this key, or None."""
        return next((row for row in self.rows if row.key == key), None)

    def metrics(self) -> tuple[str, ...]:
        """Names of all metrics in the rows, the primary one first, then as they come."""
        names = dict.fromkeys([self.primary_metric])
        for row in self.rows:
            names.update(dict.fromkeys(row.figures))
        return tuple(names)

    def dumps(self) -> str:
        """The text of ``report.json``."""
        return json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def loads(cls, text: str) -> Self:
        """Read the text of a ``report.json``.

        Raises:
            InputError: it is not JSON, of another schema version, or not whole.
        """
        data = text_to_json(text)
        if isinstance(data, Mapping):
            # Before anything else: a newer report may well have keys that this version does not know.
            require("schema_version" in data, "schema_version", "is missing")
            _check_version(data["schema_version"])
        return cls.from_json(data)

    def save(self, path: Path) -> None:
        """Write ``report.json``, whole or not at all."""
        draft = path.with_name(f"{path.name}.{os.getpid()}.part")
        draft.write_text(self.dumps(), encoding="utf-8")
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a ``report.json``; errors name the file.

        Raises:
            InputError: there is no such file, or its text is not a report.
        """
        try:
            return cls.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = (
                error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
            )
            raise InputError(f"{path} cannot be read: {reason.lower()}", "give a run's report.json") from None
        except InputError as error:
            raise InputError(f"{path} is not a report: {error.message}", error.hint) from None


def _check_version(version: object) -> None:
    known = type(version) is int and version == SCHEMA_VERSION
    shown = version if isinstance(version, int) else "no number"
    require(
        known,
        "schema_version",
        f"is {shown}; this version of ifedpriv reads {SCHEMA_VERSION}",
        "use the version of ifedpriv that wrote the report",
    )
