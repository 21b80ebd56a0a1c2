"""Coverage-guided fuzzing of the wire's decoder: python benchmarks/fuzz_wire.py --seconds 600.

Needs the extra ``fuzz`` (atheris). Any exception other than FrameError is a finding; so is a frame that
decodes to something that does not encode again. Half of the inputs get a fitting length, layout and checksum
first, so that the fuzzer looks behind them. It runs in a child process, because it ends the process it is in; what it
reports is added to what is stored.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import resource
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

OUT = Path(__file__).parent / "results" / "fuzz_wire.json"


def fuzz(seconds: int, seed: int, corpus: str) -> None:
    """Run atheris in this process until the time is up or an input breaks the decoder."""
    import atheris

    with atheris.instrument_imports(include=["defenses"]):
        import defenses.codec
        import defenses.frame
        import defenses.upload

    frame = defenses.frame
    layouts = [
        defenses.upload.Layout.of(shapes)
        for shapes in ({"v": (2, 2, 3)}, {"v": (1030,)}, {"a": (), "b": (3, 5), "c": (1,)})
    ]

    def mended(data: bytes, layout: defenses.upload.Layout) -> bytes:
        head = b"IF\x01" + data[3:4] + struct.pack("<HI", layout.digest, len(data) - frame.HEADER_SIZE)
        head += data[len(head) : 22]
        body = data[frame.HEADER_SIZE :]
        return head + struct.pack("<I", zlib.crc32(head + body)) + body

    def one_input(data: bytes) -> None:
        if not data:
            return
        layout = layouts[(data[0] >> 1) % len(layouts)]
        wire = data[1:]
        if data[0] & 1 and len(wire) >= frame.HEADER_SIZE:
            wire = mended(wire, layout)
        try:
            decoded = frame.decode(wire, layout)
        except defenses.errors.FrameError:
            return
        frame.encode(decoded.upload, decoded.sender, defenses.codec.Precision.FP32)

    # Seeds: one frame of each kind, precision and layout, so that the run does not start by guessing them.
    for which, layout in enumerate(layouts):
        zeros = layout.unflatten([0.0] * layout.size)
        for kind in defenses.upload.UploadKind:
            upload = defenses.upload.Upload(zeros, 1, 0, kind)
            for precision in defenses.codec.Precision:
                start = bytes([which << 1 | 1]) + frame.encode(upload, 0, precision)
                (Path(corpus) / f"{which}_{kind}_{precision}").write_bytes(start)

    options = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=4400", "-print_final_stats=1"]
    options.append(f"-artifact_prefix={corpus}/")
    atheris.Setup([sys.argv[0], *options, corpus], one_input)
    atheris.Fuzz()


def main() -> int:
    """Fuzz in a child process and store what it reports; 1 if it found something."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600, help="how long to fuzz")
    parser.add_argument("--seed", type=int, default=1, help="the fuzzer's seed")
    parser.add_argument("--out", type=Path, default=OUT, help="where to store the result as JSON")
    parser.add_argument("--child-corpus", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child_corpus:
        fuzz(args.seconds, args.seed, args.child_corpus)
        return 0
    with tempfile.TemporaryDirectory() as corpus:
        command = [sys.executable, __file__, "--seconds", str(args.seconds), "--seed", str(args.seed)]
        command += ["--child-corpus", corpus]
        run = subprocess.run(command, capture_output=True, text=True, errors="replace")
        corpus_files = len([path for path in Path(corpus).iterdir() if not path.name.startswith("crash-")])
        crashes = [
            path.read_bytes().hex() for path in Path(corpus).glob("*") if path.name.startswith("crash-")
        ]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", run.stderr)
    coverage = re.findall(r"\bcov: (\d+) ft: (\d+)", run.stderr)
    if executed is None or not coverage:
        print(run.stderr[-2000:], file=sys.stderr)
        return 70
    stored = json.loads(args.out.read_text()) if args.out.exists() else {}
    result = {
        "schema": 2,
        "target": "defenses.frame.decode",
        "seeds": [*stored.get("seeds", []), args.seed],
        "seconds": stored.get("seconds", 0) + args.seconds,
        # Of runs before schema 2 the processor's time is not known, and counts as none.
        "cpu_seconds": stored.get("cpu_seconds", 0) + round(used.ru_utime + used.ru_stime),
        "inputs": stored.get("inputs", 0) + int(executed.group(1)),
        "edges_covered": max(stored.get("edges_covered", 0), int(coverage[-1][0])),
        "features": max(stored.get("features", 0), int(coverage[-1][1])),
        "corpus_files": max(stored.get("corpus_files", 0), corpus_files),
        "findings": stored.get("findings", []) + crashes,
        "exit_code": run.returncode,
        "python": platform.python_version(),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    if run.returncode:
        print(run.stderr[-2000:], file=sys.stderr)
    return int(bool(run.returncode or crashes))


if __name__ == "__main__":
    raise SystemExit(main())
