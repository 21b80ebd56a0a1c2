"""What a run's configuration may say about data and about who holds it.

The one invariant: a spec that exists is well formed. Unknown keys, clashing fields and unusable wordings are
refused here, by field name, before a file is opened. Nothing in this file reads data or imports a loader.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ifedpriv.data.task import Task, TaskKind
from ifedpriv.errors import InputError

# Strict, so that `true` is not one client and "10" is not ten.
Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0)]
Name = Annotated[str, Field(min_length=1)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
# A null byte is in no file's name, and the system calls refuse it with errors of their own.
PathText = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]


class _Spec(BaseModel):
    """Frozen, and closed to unknown keys: a misspelt option is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# ---- where texts come from


class _Sizes(_Spec):
    """How much of each split is used, and by which draw.

    Attributes:
        max_train: the most training examples to keep; a seeded sample, part of that of any larger cap.
        max_validation: the same for validation.
        max_test: the same for test.
        balance_test: sample the same number of test examples of every class.
        validation_fraction: the share of train set aside where the source has no validation split.
        seed: the seed of all these draws.
    """

    max_train: Count | None = None
    max_validation: Count | None = None
    max_test: Count | None = None
    balance_test: bool = False
    validation_fraction: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.1
    seed: Seed = 0


class _Wording(_Sizes):
    """How a row becomes a demonstration, and which columns it is read from.

    Attributes:
        template: text around the input, holding ``{text}`` once and ending where the answer begins.
        label_words: the words that stand for the classes, in index order. Left out, the label names are used.
        label_names: the names rows may use for the classes, in index order. Left out, the source's own
            (``meta.json`` of a directory, the class names of a hub set) are used.
        kind: classification or generation.
        separator: what ends a demonstration.
        gap: what stands between prompt and answer.
        max_new_tokens: the longest answer that generation may give.
        label_values: for classes that stand for numbers, the number of each, in index order; the report then has an
            RMSE.
        answer_range: for generated answers that are numbers, ``[smallest, largest]``; the report then has an RMSE, and
            an answer that is no number counts with the largest error that the range allows.
        text_column: the field that holds the text.
        label_column: the field that holds the label (classification).
        answer_column: the field that holds the answer (generation).
        attribute_columns: fields kept as attributes, which partitions may split by.
    """

    template: str
    label_words: tuple[Name, ...] = ()
    label_names: tuple[Name, ...] = ()
    kind: TaskKind = TaskKind.CLASSIFICATION
    separator: str = "\n"
    gap: str = " "
    max_new_tokens: Count = 16
    label_values: tuple[Number, ...] = ()
    answer_range: tuple[Number, ...] = ()
    text_column: Name = "text"
    label_column: Name = "label"
    answer_column: Name = "answer"
    attribute_columns: tuple[Name, ...] = ()

    @field_validator("label_words")
    @classmethod
    def _words_without_edges(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if word != word.strip():
                raise ValueError(
                    f"label word {word!r} begins or ends with a space; leave that to the field gap"
                )
        return words

    @field_validator("label_names", "attribute_columns")
    @classmethod
    def _named_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError(f"{list(names)} repeats a name; give each once")
        return names

    @model_validator(mode="after")
    def _wording_makes_a_task(self) -> Self:
        if self.kind is TaskKind.GENERATION:
            for field in ("label_words", "label_names", "balance_test"):
                if getattr(self, field):
                    raise ValueError(
                        f"{field} is set, but kind is generation, which has no classes; leave it out"
                    )
        if self.label_words and self.label_names and len(self.label_words) != len(self.label_names):
            raise ValueError(
                f"label_words has {len(self.label_words)} entries and label_names {len(self.label_names)}; "
                "give one word for each name, in the same order"
            )
        try:
            # Words that the files will name are as many as the values.
            stand_ins = tuple(f"class {i}" for i in range(max(len(self.label_values), 2)))
            self.task("check", self.label_words or self.label_names or stand_ins)
        except InputError as error:
            raise ValueError(str(error)) from None
        return self

    def task(self, name: str, label_words: tuple[str, ...]) -> Task:
        """The task with this wording; the label words are those the loader settled on."""
        return Task(
            name=name,
            template=self.template,
            label_words=label_words if self.kind is TaskKind.CLASSIFICATION else (),
            kind=self.kind,
            separator=self.separator,
            gap=self.gap,
            max_new_tokens=self.max_new_tokens,
            label_values=self.label_values,
            answer_range=self.answer_range,
        )


class EmbeddedData(_Spec):
    """A task that ships with the package; its wording is its own.

    Attributes:
        name: the task's name.
        train: number of training examples to generate; likewise validation and test.
        seed: the seed they are generated from.
    """

    source: Literal["embedded"] = "embedded"
    name: Name
    train: Count = 400
    validation: Count = 100
    test: Count = 500
    seed: Seed = 0


class FileData(_Wording):
    """JSONL or CSV files: one directory, or the files one by one.

    Attributes:
        path: a directory with ``train``, ``test`` and perhaps ``validation`` (``.jsonl`` or ``.csv``), and
            perhaps a ``meta.json`` with ``label_names``. Relative paths start at the data root.
        train: the training file, in place of ``path``; likewise test and (optional) validation.
        name: what the task is called; the directory's or the training file's name where left out.
    """

    source: Literal["files"] = "files"
    path: PathText | None = None
    train: PathText | None = None
    validation: PathText | None = None
    test: PathText | None = None
    name: Name | None = None

    @model_validator(mode="after")
    def _one_way_to_the_files(self) -> Self:
        single = [field for field in ("train", "validation", "test") if getattr(self, field) is not None]
        if self.path is not None and single:
            raise ValueError(f"path and {single[0]} are both set; give the directory or the files, not both")
        if self.path is None and (self.train is None or self.test is None):
            raise ValueError(
                "neither path nor both train and test are set; give a directory, or the two files"
            )
        return self


class HubData(_Wording):
    """A data set read with the ``datasets`` library (extra ``hub``): a hub name, or a directory it can read.

    Attributes:
        name: the hub's name, such as ``SetFit/subj``.
        config: the configuration's name, where the set has several.
        revision: branch, tag or commit; a commit makes the run repeatable.
        train_split: the split to train on; likewise test_split.
        validation_split: the split to validate on; left out, a share of train is set aside.
    """

    source: Literal["hub"] = "hub"
    name: Name
    config: Name | None = None
    revision: Name | None = None
    train_split: Name = "train"
    validation_split: Name | None = None
    test_split: Name = "test"

    @model_validator(mode="after")
    def _splits_differ(self) -> Self:
        splits = [self.train_split, self.test_split, *filter(None, [self.validation_split])]
        if len(set(splits)) != len(splits):
            raise ValueError(
                f"the splits {splits} name one split twice; train, validation and test must differ"
            )
        return self


class PresetData(_Sizes):
    """A known data set with the wording of the literature (`ifedpriv.data.presets`).

    Attributes:
        name: the preset's name.
        path: the directory, where it is not called what the preset calls it.
    """

    source: Literal["preset"] = "preset"
    name: Name
    path: PathText | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        # Imported here because the table of presets is made of the specs above.
        from ifedpriv.data.presets import PRESETS

        if name not in PRESETS:
            raise ValueError(f"there is no preset {name!r}; the presets are {', '.join(sorted(PRESETS))}")
        return name


DataSpec = Annotated[EmbeddedData | FileData | HubData | PresetData, Field(discriminator="source")]
"""The ``data`` section of a configuration; ``source`` says which."""


# ---- who holds which


class _Partition(_Spec):
    """What every partition is asked.

    Attributes:
        clients: number of clients.
        examples_per_client: the most examples one client keeps; the rest of its share is left unused.
        min_examples: the fewest examples a client may end up with.
        seed: fixes the partition apart from the run's seed; left out, the run's seed is used.
    """

    clients: Count = 10
    examples_per_client: Count | None = None
    min_examples: Count = 1
    seed: Seed | None = None

    @model_validator(mode="after")
    def _cap_above_minimum(self) -> Self:
        if self.examples_per_client is not None and self.examples_per_client < self.min_examples:
            raise ValueError(
                f"examples_per_client is {self.examples_per_client}, below min_examples {self.min_examples}; "
                "raise the one or lower the other"
            )
        return self


class IidPartition(_Partition):
    """Shuffled and cut evenly: sizes differ by at most one."""

    kind: Literal["iid"] = "iid"


class DirichletPartition(_Partition):
    """Each class is divided by its own Dirichlet draw over the clients.

    Attributes:
        alpha: concentration; 0.1 is very skewed, 100 nearly even.
        by: divide by this attribute instead of by label.
    """

    kind: Literal["dirichlet"] = "dirichlet"
    alpha: Annotated[float, Field(strict=True, ge=1e-4, le=1e6, allow_inf_nan=False)] = 0.5
    by: Name | None = None


class PathologicalPartition(_Partition):
    """Each client holds shards of a few classes.

    Attributes:
        classes_per_client: exactly how many classes a client holds.
    """

    kind: Literal["pathological"] = "pathological"
    classes_per_client: Count = 2


class AttributePartition(_Partition):
    """Each client holds texts with one value of an attribute.

    Attributes:
        name: the attribute.
        values: use only these values and leave the other texts out; all values where empty.
    """

    kind: Literal["attribute"] = "attribute"
    name: Name
    values: tuple[Name, ...] = ()

    @field_validator("values")
    @classmethod
    def _once(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(values)) != len(values):
            raise ValueError(f"{list(values)} repeats a value; give each once")
        return values


class ContradictoryPartition(_Partition):
    """Groups of clients that mean different things by the same label.

    Attributes:
        groups: number of groups.
        mode: ``permute`` renames the classes of every group but the first, so that any two groups disagree
            about every class; ``given`` splits by the data's own attribute ``group``; ``auto`` is ``given``
            where every example has that attribute, and ``permute`` otherwise.
    """

    kind: Literal["contradictory"] = "contradictory"
    groups: Annotated[int, Field(strict=True, ge=2)] = 2
    mode: Literal["auto", "permute", "given"] = "auto"

    @model_validator(mode="after")
    def _a_client_for_each_group(self) -> Self:
        if self.clients < self.groups:
            raise ValueError(
                f"groups is {self.groups}, above clients {self.clients}; every group needs a client"
            )
        return self


PartitionSpec = Annotated[
    IidPartition | DirichletPartition | PathologicalPartition | AttributePartition | ContradictoryPartition,
    Field(discriminator="kind"),
]
"""The ``partition`` section of a configuration; ``kind`` says which."""
