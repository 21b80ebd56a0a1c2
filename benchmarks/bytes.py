"""How many bytes a frame takes, measured by encoding one: python benchmarks/bytes.py [--out FILE].

Beside the frames stand the sizes that the IFed-ICL paper (arXiv 2511.06757) prints for LLaMA-3-8B: 514 KB for
the vector and 1.8 KB for the coefficients. Files that torch.save writes for the fp16 tensors have 525,865 and
1,833 bytes (513.5 KiB and 1.79 KiB), so these are taken as the paper's exact figures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from defenses.frame import HEADER_SIZE, Precision, decode, encode
from defenses.upload import Upload, UploadKind

MODELS = {
    "LLaMA-3-8B": (32, 4096),
    "Qwen2.5-7B": (28, 3584),
    "Llama-3.2-1B": (16, 2048),
    "GPT-2": (12, 768),
}
PAPER = {UploadKind.VECTOR: 525_865, UploadKind.COEFFICIENTS: 1_833}
PAPER_MODEL = "LLaMA-3-8B"
OUT = Path(__file__).parent / "results" / "bytes.json"


def measure() -> list[dict[str, Any]]:
    """One row for each model, upload and precision; the numbers are standard normal, drawn from seed 0."""
    rng = np.random.default_rng(0)
    rows = []
    for model, (layers, width) in MODELS.items():
        for kind, shape in (
            (UploadKind.VECTOR, (layers, 2, width)),
            (UploadKind.COEFFICIENTS, (layers, 2, 2)),
        ):
            numbers = rng.standard_normal(shape).astype(np.float32)
            upload = Upload({str(kind): numbers}, 20, 1, kind)
            for precision in Precision:
                frame = encode(upload, 1, precision)
                error = decode(frame, upload.layout).upload.arrays[str(kind)] - numbers
                row: dict[str, Any] = {
                    "model": model,
                    "kind": str(kind),
                    "shape": list(shape),
                    "precision": str(precision),
                    "bytes": len(frame),
                    "header_bytes": HEADER_SIZE,
                    "relative_rms_error": float(np.sqrt(np.mean(error**2) / np.mean(numbers**2))),
                }
                if model == PAPER_MODEL:
                    row["paper_bytes"] = PAPER[kind]
                    row["paper_over_ours"] = PAPER[kind] / len(frame)
                rows.append(row)
    return rows


def main() -> None:
    """Measure, print a table, store the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, help="where to store the rows as JSON")
    out: Path = parser.parse_args().out
    rows = measure()
    print(f"{'model':<14}{'upload':<14}{'precision':<11}{'bytes':>10}{'rms error':>12}{'paper / ours':>14}")
    for row in rows:
        ratio = f"{row['paper_over_ours']:.2f}" if "paper_over_ours" in row else ""
        print(
            f"{row['model']:<14}{row['kind']:<14}{row['precision']:<11}{row['bytes']:>10,}"
            f"{row['relative_rms_error']:>12.2e}{ratio:>14}"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"schema": 1, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
