"""Examples and specs that several data tests share."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ifedpriv.data.specs import DataSpec, PartitionSpec
from ifedpriv.data.task import Example

data_spec = TypeAdapter[Any](DataSpec).validate_python
partition_spec = TypeAdapter[Any](PartitionSpec).validate_python

TWO_WORDS = {"template": "Review: {text}\nSentiment:", "label_words": ["bad", "good"]}


def examples(counts: list[int], **attributes: list[str]) -> list[Example]:
    """``counts[k]`` examples of class k, each text its own, attributes dealt in turn."""
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    return [
        Example(
            f"text {i}", label, "", {name: values[i % len(values)] for name, values in attributes.items()}
        )
        for i, label in enumerate(labels)
    ]


def write_task(folder: Path, **files: str) -> Path:
    """A directory of files by stem; JSONL but for those given with their suffix, as in ``train_csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        stem, _, suffix = name.partition("_")
        (folder / f"{stem}.{suffix or 'jsonl'}").write_text(content, encoding="utf-8")
    return folder


GOOD_TRAIN = "".join(f'{{"text": "train text {i}", "label": {i % 2}}}\n' for i in range(20))
GOOD_TEST = "".join(f'{{"text": "test text {i}", "label": {i % 2}}}\n' for i in range(10))
