"""Coverage-guided fuzzing of every decoder of masked, ratcheted and encrypted rounds: python benchmarks/fuzz_secagg.py.

Needs the extras ``fuzz`` (atheris) and ``he``. A finding is any exception that is not one of ours, a message that
decodes to something that does not encode to the same bytes, or a library that dies. Most inputs get a fitting header
and checksum first, so that the fuzzer looks behind them; those of saved sessions are also changed fact by fact. Each
target runs in child processes of its own, one after another over one corpus, until its part of the processor seconds
is used. What is found is added to what the stored result holds; with ``--fresh`` a target's record begins anew.
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
from collections.abc import Iterator
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


def child(name: str, seconds: int, seed: int, corpus: Path) -> dict[str, Any]:
    """One target in a process of its own, and what it reports.

    Args:
        name: which target.
        seconds: how long, by the clock.
        seed: the fuzzer's.
        corpus: a folder to go on from, and to leave inputs in.
    """
    command = [sys.executable, __file__, "--child", name, "--child-corpus", str(corpus)]
    command += ["--seconds", str(seconds), "--seed", str(seed)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    run = subprocess.run(command, capture_output=True, text=True, errors="replace")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    kept = list(corpus.iterdir())
    bad = [path for path in kept if path.name.startswith(("crash-", "timeout-", "oom-", "leak-"))]
    findings = [{"name": path.name, "input": path.read_bytes().hex()[:20_000]} for path in bad]
    for path in bad:
        path.unlink()
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
        "runs": 1,
    }


def slices(name: str, cpu_seconds: float, seed: int) -> Iterator[dict[str, Any]]:
    """A target again and again, over one corpus, until so many processor seconds are used or something is found."""
    left, pace = cpu_seconds, 1.0
    with tempfile.TemporaryDirectory() as corpus:
        while left > 1:
            # A machine with other work on it gives a share of each second.
            seconds = round(min(_LONGEST, max(_SHORTEST, left * pace)))
            found = child(name, seconds, seed, Path(corpus))
            yield found
            if found["findings"] or found["exit_code"]:
                return
            left -= found["cpu_seconds"]
            pace = found["seconds"] / max(1, found["cpu_seconds"])
            seed += 1


_SHORTEST, _LONGEST = 10, 600
"""Seconds of one child process."""


def together(one: dict[str, Any] | None, other: dict[str, Any]) -> dict[str, Any]:
    """Two records of one target as one: what was done adds up, and what was reached is the larger."""
    if one is None:
        return other
    added = {key: one[key] + other[key] for key in ("seconds", "cpu_seconds", "inputs", "findings")}
    reached = {key: max(one[key], other[key]) for key in ("edges_covered", "features", "corpus_files")}
    runs = {"runs": one.get("runs", 1) + other.get("runs", 1)}
    return {**added, **reached, "exit_code": one["exit_code"] or other["exit_code"], **runs}


def store(out: Path, targets: dict[str, Any], seeds: set[int]) -> None:
    """Write the records of all targets, and their sums."""
    result = {
        "schema": 1,
        "seeds": sorted(seeds),
        **{key: sum(each[key] for each in targets.values()) for key in ("seconds", "cpu_seconds", "inputs")},
        "findings": sum(len(each["findings"]) for each in targets.values()),
        "targets": {name: targets[name] for name in TARGETS if name in targets},
        "python": platform.python_version(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")


def main() -> int:
    """Fuzz each target in turn and add what they report to what is stored; 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--seconds", type=int, default=4000, help="processor seconds to fuzz, all targets together"
    )
    parser.add_argument("--seed", type=int, default=1, help="the fuzzer's first seed")
    parser.add_argument(
        "--only", nargs="+", choices=list(TARGETS), default=list(TARGETS), help="targets to run"
    )
    parser.add_argument("--fresh", action="store_true", help="forget what is stored of these targets")
    parser.add_argument("--out", type=Path, default=OUT, help="the stored result, JSON")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--child-corpus", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        fuzz(args.child, args.seconds, args.seed, args.child_corpus)
        return 0
    whole = sum(TARGETS[name][1] for name in args.only)
    stored = json.loads(args.out.read_text()) if args.out.exists() else {"targets": {}, "seeds": []}
    targets, seeds = dict(stored["targets"]), set(stored["seeds"])
    failed = False
    for name in args.only:
        if args.fresh:
            targets.pop(name, None)
        for at, found in enumerate(slices(name, args.seconds * TARGETS[name][1] / whole, args.seed)):
            targets[name] = together(targets.get(name), found)
            failed |= bool(found["findings"] or found["exit_code"])
            shown = {key: value for key, value in found.items() if key != "findings"}
            print(name, json.dumps(shown), f"{len(found['findings'])} findings", flush=True)
            seeds.add(args.seed + at)
            store(args.out, targets, seeds)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
