"""What a run found, without the clock, so that two runs can be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from defenses.view import ServerView


def found(folder: Path) -> dict[str, Any]:
    """Everything in a finished run's folder that may not depend on when and how often it was started."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    for key in ("started", "totals"):
        if key == "totals":
            report[key] = {k: v for k, v in report[key].items() if "seconds" not in k}
        else:
            del report[key]
    for row in report["rows"]:
        del row["client_seconds"]
    for line in report["rounds"]:
        del line["seconds"]
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text("utf-8").splitlines()]
    for line in lines:
        del line["seconds"], line["client_seconds"]
    view = folder / "view"
    return {
        "report": report,
        "rounds": lines,
        "artifacts": {path.name: path.read_bytes() for path in folder.glob("*.safetensors")},
        "config": (folder / "config.yaml").read_text("utf-8"),
        "view": (view / "view.json").read_text("utf-8") if view.exists() else None,
        "frames": [_fields(record) for record in ServerView.open(view).frames()] if view.exists() else None,
    }


def _fields(record: Any) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in record.__slots__)


def files(folder: Path) -> set[str]:
    """Relative paths of all files in a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
