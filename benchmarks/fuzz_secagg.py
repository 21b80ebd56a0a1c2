"""Coverage-guided fuzzing of every decoder of masked, ratcheted and encrypted rounds: python benchmarks/fuzz_secagg.py.

Needs the extras ``fuzz`` (atheris) and ``he``. A finding is any exception that is not one of ours, a message that
decodes to something that does not encode to the same bytes, or a library that dies. Most inputs get a fitting header
and checksum first, so that the fuzzer looks behind them; those of saved sessions are also changed fact by fact. Each
target runs in a child process of its own, for its part of the seconds.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _fuzz_targets import TARGETS

OUT = Path(__file__).parent / "results" / "fuzz_secagg.json"


def fuzz(name: str, seconds: int, seed: int, corpus: str) -> None:
    """Run atheris in this process until the time is up or an input is a finding."""
    import atheris

    with atheris.instrument_imports(include=["defenses"]):
        import defenses.defense
        import defenses.secagg.homomorphic.keys
        import defenses.secagg.masked.client
        import defenses.secagg.ratchet.server  # noqa: F401
    from defenses.errors import IfedprivError

    target, seeds = TARGETS[name][0]()

    def one_input(data: bytes) -> None:
        try:
            target(data)
        except IfedprivError:
            return

    for number, start in enumerate(dict.fromkeys(seeds)):
        one_input(start)
        (Path(corpus) / f"seed_{number}").write_bytes(start)
    longest = max(4400, *(len(start) + 64 for start in seeds))
    options = [f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={longest}", "-print_final_stats=1"]
    options += [f"-artifact_prefix={corpus}/", "-timeout=60", "-rss_limit_mb=3000"]
    atheris.Setup([sys.argv[0], *options, corpus], one_input)
    atheris.Fuzz()


def child(name: str, seconds: int, seed: int) -> dict[str, Any]:
    """One target in a process of its own, and what it reports."""
    with tempfile.TemporaryDirectory() as corpus:
        command = [sys.executable, __file__, "--child", name, "--child-corpus", corpus]
        command += ["--seconds", str(seconds), "--seed", str(seed)]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        run = subprocess.run(command, capture_output=True, text=True, errors="replace")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        kept = list(Path(corpus).iterdir())
        bad = [path for path in kept if path.name.startswith(("crash-", "timeout-", "oom-", "leak-"))]
        findings = [{"name": path.name, "input": path.read_bytes().hex()[:20_000]} for path in bad]
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", run.stderr)
    coverage = re.findall(r"\bcov: (\d+) ft: (\d+)", run.stderr)
    if run.returncode:
        print(run.stderr[-3000:], file=sys.stderr)
    return {
        "seconds": round(time.monotonic() - began),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime),
        "inputs": int(executed[1]) if executed else 0,
        "edges_covered": int(coverage[-1][0]) if coverage else 0,
        "features": int(coverage[-1][1]) if coverage else 0,
        "corpus_files": len(kept) - len(bad),
        "findings": findings,
        "exit_code": run.returncode,
    }


def main() -> int:
    """Fuzz each target in turn and store what they report; 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=4000, help="how long to fuzz, all targets together")
    parser.add_argument("--seed", type=int, default=1, help="the fuzzer's seed")
    parser.add_argument(
        "--only", nargs="+", choices=list(TARGETS), default=list(TARGETS), help="targets to run"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="where to store the result as JSON")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--child-corpus", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        fuzz(args.child, args.seconds, args.seed, args.child_corpus)
        return 0
    whole = sum(TARGETS[name][1] for name in args.only)
    found: dict[str, Any] = {}
    for name in args.only:
        found[name] = child(name, max(1, round(args.seconds * TARGETS[name][1] / whole)), args.seed)
        shown = {key: value for key, value in found[name].items() if key != "findings"}
        print(name, json.dumps(shown), f"{len(found[name]['findings'])} findings", flush=True)
        result = {
            "schema": 1,
            "seed": args.seed,
            "seconds": sum(each["seconds"] for each in found.values()),
            "cpu_seconds": sum(each["cpu_seconds"] for each in found.values()),
            "inputs": sum(each["inputs"] for each in found.values()),
            "findings": sum(len(each["findings"]) for each in found.values()),
            "targets": found,
            "python": platform.python_version(),
        }
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    return int(any(each["findings"] or each["exit_code"] for each in found.values()))


if __name__ == "__main__":
    raise SystemExit(main())
