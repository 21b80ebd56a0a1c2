"""A curve in miniature: the tiny run as its template, two budgets and none, two seeds, all in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny import examples, tiny_config, write_config


def curve_config(folder: Path, **changes: Any) -> dict[str, Any]:
    """The configuration as JSON, over a checkpoint and files in ``folder``."""
    run = tiny_config(folder)
    lines = [json.dumps({"text": example.text}) for example in examples(40, 9)]
    public = folder / "public.jsonl"
    public.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run["partition"] = {"kind": "iid", "clients": 5}
    run["method"] = {"kind": "ifed_icl", "aggregation": "count", "calibration": {"rounds": 2}}
    privacy = {"delta": 1e-3, "max_examples": 16, "public": {"path": str(public), "texts": 32}}
    run["defense"] = {"kind": "none", "privacy": privacy}
    del run["name"]
    return {"name": "tiny", "run": run, "epsilons": [8, 1, "inf"], "repeats": 2, "workers": 1, **changes}


def write_curve(folder: Path, **changes: Any) -> Path:
    """The same as a file."""
    return write_config(folder / "curve.yaml", curve_config(folder, **changes))


def settled(folder: Path) -> dict[str, Any]:
    """A finished curve's files without the clock, so that two can be compared."""
    curve = json.loads((folder / "curve.json").read_text("utf-8"))
    for point in curve["points"]:
        del point["processor_seconds"]
    points = [json.loads(line) for line in (folder / "points.jsonl").read_text("utf-8").splitlines()]
    for point in points:
        del point["processor_seconds"]
    kept = {name: (folder / f"curve.{name}").read_bytes() for name in ("csv", "svg", "pdf", "png")}
    return {
        **kept,
        "json": curve,
        "points": sorted(points, key=json.dumps),
        "config": (folder / "config.yaml").read_text("utf-8"),
    }
