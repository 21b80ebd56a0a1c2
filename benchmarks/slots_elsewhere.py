"""Names and numbers that linear probes tell, slot by slot, on texts of another kind than the shipped writer's.

    python benchmarks/slots_elsewhere.py FOLDER [--vectors 60]

FOLDER holds ``train.jsonl`` and ``test.jsonl``, rows with a ``text``, such as the synthetic personal data of
presidio-research. The attacker's public texts are those of the first file but the last ``--vectors``, in a drawn order;
vectors are of one text each, at fp16: those last ones, and as many of the second file. Texts of 250 characters or more
are left out, and texts without a private string. Results go to ``results/slots_elsewhere.json``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _shared import machine, print_machine, store

from attacks._base.attack import Content, Fillers, Knowledge, Who
from attacks._base.names import ordinary_words
from attacks._base.space import read
from attacks._base.targets import Target, rounding_variance
from attacks._judging.metrics import private_strings
from attacks._judging.rules import interval_of
from attacks._texts.slots import Slots, slots
from defenses.codec import Precision
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.jsonl import read_jsonl
from ifedpriv.data.task import Example, Task
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.icl.prompts import Position

LONGEST = 250
TASK = Task("elsewhere", "{text} =>", ("red", "blue"), separator="\n")
"""The template and two label words of the shipped world; which of them a text has does not matter here."""


def texts_of(path: Path) -> list[Example]:
    """The texts that are short enough."""
    texts = [str(row.fields["text"]) for row in read_jsonl(path).rows]
    return [Example(text, label=0) for text in texts if len(text) < LONGEST]


def told(backbone: Backbone, knowledge: Knowledge, private: Sequence[Example]) -> dict[str, Any]:
    """What is told of vectors of one text each, beside what public texts alone say."""
    ordinary = ordinary_words(example.text for example in knowledge.public)
    true = [private_strings(example.text, ordinary) for example in private]
    kept = [i for i, strings in enumerate(true) if strings]
    true = [true[i] for i in kept]
    targets = []
    for number, values in enumerate(read(backbone, knowledge, [private[i] for i in kept], "")):
        sent = values.astype(np.float16).astype(np.float64)
        targets.append(Target(Who(number), sent, rounding_variance(sent, Precision.FP16), 1))
    said = [answer.content for answer in slots(backbone, knowledge, targets)]
    of_public = Slots.of([example.text for example in knowledge.public])
    prior = of_public.prior()
    guesses: dict[str, Sequence[Content]] = {
        "slots": said,
        "prior only": [replace(prior, chosen=each.chosen) for each in said if isinstance(each, Fillers)],
        "another text's": [*said[1:], said[0]],
    }
    known = {filler for slot in of_public.slots.values() for filler in slot.fillers}
    found: dict[str, Any] = {
        "vectors": len(true),
        "strings of a text": float(np.mean([len(each) for each in true])),
        "share that public texts have": float(np.mean([len(each & known) / len(each) for each in true])),
    }
    recalls = {}
    for name, contents in guesses.items():
        bets = [each.said for each in contents if isinstance(each, Fillers)]
        recalls[name] = [len(a & b) / len(b) for a, b in zip(bets, true, strict=True)]
        precision = [len(a & b) / max(1, len(a)) for a, b in zip(bets, true, strict=True)]
        found[name] = {
            "private strings": float(np.mean(recalls[name])),
            "interval": interval_of(recalls[name]),
            "string precision": float(np.mean(precision)),
        }
    gain = [a - b for a, b in zip(recalls["slots"], recalls["prior only"], strict=True)]
    found["gain over prior only"] = {"value": float(np.mean(gain)), "interval": interval_of(gain)}
    return found


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vectors", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine(1)
    print_machine(facts)
    first, second = (texts_of(options.folder / f"{name}.jsonl") for name in ("train", "test"))
    order = np.random.default_rng(0).permutation(len(first))
    public = tuple(first[i] for i in order[: -options.vectors])
    backbone = Backbone.load(MODEL_PATH)
    knowledge = Knowledge(TASK, Position.LABEL, public, labelled=False)
    result: dict[str, Any] = {"machine": facts, "data": options.folder.name, "public texts": len(public)}
    own = [first[i] for i in order[-options.vectors :]]
    for name, private in (("the same file", own), ("the other file", second[: options.vectors])):
        result[name] = told(backbone, knowledge, private)
        print(name, result[name], flush=True)
    store("slots_elsewhere", result)


if __name__ == "__main__":
    main()
