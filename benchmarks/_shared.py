"""What every benchmark needs: facts of the machine, memory of this process, children of their own, medians."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

RESULTS = Path(__file__).parent / "results"
QUIET = 1.5
"""Load average above which a run is marked as disturbed."""


def machine(threads: int) -> dict[str, Any]:
    """What a reader has to know to compare a number with another machine's."""
    facts: dict[str, Any] = {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }
    for name in ("torch", "transformers", "peft", "numpy"):
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "not installed"
    return facts


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def print_machine(facts: dict[str, Any]) -> None:
    """The facts on two lines, and a warning if the machine was not quiet."""
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['threads']} thread(s), {facts['memory_gib']} GiB")
    rest = [f"{name} {facts[name]}" for name in ("python", "torch", "transformers", "peft")]
    print(f"{facts['system']}; {', '.join(rest)}; load at start {facts['load_at_start']}")
    if facts["load_at_start"] > QUIET:
        print(
            "NOTE: the machine was busy; processor times are inflated by shared caches, repeat when it is quiet"
        )


def store(name: str, result: dict[str, Any]) -> Path:
    """Write ``results/<name>.json``, whole or not at all."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"schema": 1, **result}, indent=1) + "\n")
    partial.replace(path)
    return path


def child(script: str, arguments: Sequence[str], threads: int) -> dict[str, Any]:
    """Run a script's own child mode in a fresh process; its last line of output is its result."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
    }
    before = os.getloadavg()[0]
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise SystemExit(f"{script} {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**result, "load": [round(before, 2), round(os.getloadavg()[0], 2)]}


def resident() -> int:
    """Bytes of this process in memory now."""
    return _status("VmRSS")


def reset_peak() -> None:
    """Start `peak` anew from what is resident now (Linux; elsewhere the peak is that of the whole process)."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def peak() -> int:
    """Most bytes of this process in memory since `reset_peak`."""
    return _status("VmHWM")


def _status(field: str) -> int:
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def median_interval(values: Sequence[float], level: float = 0.95) -> dict[str, Any]:
    """The median with the distribution-free interval of order statistics; ``level`` is the coverage it has.

    With fewer than 6 values even the whole range covers less than 95%, and then it is the range.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    rank = int(stats.binom.ppf((1 - level) / 2, n, 0.5))
    coverage = 1 - 2 * float(stats.binom.cdf(max(rank - 1, 0), n, 0.5))
    return {
        "median": float(np.median(ordered)),
        "low": float(ordered[rank - 1]) if rank else float(ordered[0]),
        "high": float(ordered[n - rank]) if rank else float(ordered[-1]),
        "level": coverage,
        "n": n,
    }
