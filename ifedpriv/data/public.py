"""Texts that are nobody's secret, in the wording of a private task.

Invariant: nothing here looks at a client's examples; where a text has no public label, one is drawn at random, since
which label belongs to which text is what the clients know and the public does not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from defenses.privacy_specs import PublicSpec
from ifedpriv.data.jsonl import read_jsonl
from ifedpriv.data.task import Example, Task, TaskKind
from ifedpriv.embedded.texts import FIELDS, write_text
from ifedpriv.errors import InputError

_STREAM = 0x5055_424C


def public_examples(
    task: Task,
    spec: PublicSpec,
    root: Path | None,
    *,
    embedded: bool,
    field: str = "defense.privacy.public",
) -> tuple[Example, ...]:
    """Public texts with labels of the task.

    Args:
        task: whose template and label words are used.
        spec: where the texts come from, and how many there are to be.
        root: where a relative path starts.
        embedded: whether the task is a shipped one, whose generator can write public texts.
        field: where the configuration says so, for errors.

    Raises:
        InputError: there are none, or fewer than asked for.
    """
    rng = np.random.default_rng([spec.seed, _STREAM])
    if spec.path is not None:
        found = _texts((root or Path()) / spec.path)
        if len(found) < spec.texts:
            raise InputError(
                f"{field}.texts is {spec.texts}, and {spec.path} has {len(found)}",
                "give more texts or ask for fewer",
            )
        chosen = rng.choice(len(found), size=spec.texts, replace=False)
        return tuple(_with_random_answer(task, found[i], found[i].split()[:2], rng) for i in chosen)
    if not embedded:
        raise InputError(
            f"{field}.path is not set, and only the shipped tasks come with public texts",
            "name a JSON Lines file of texts that no client holds",
        )
    written = [write_text(rng) for _ in range(spec.texts)]
    return tuple(
        _with_random_answer(
            task, text.text, [text.words[field] for field in rng.permutation(FIELDS)[:2]], rng
        )
        for text in written
    )


def _texts(path: Path) -> list[str]:
    table = read_jsonl(path)
    texts = [row.fields.get("text") for row in table.rows]
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{path}, row {number}: there is no text", "give each row a field 'text'")
    return [str(text) for text in texts]


def _with_random_answer(task: Task, text: str, words: list[str], rng: np.random.Generator) -> Example:
    if task.kind is TaskKind.GENERATION:
        return Example(text, answer=" ".join(words))
    return Example(text, label=int(rng.integers(task.n_classes)))
