"""Spreads points over processes, each with one thread and a bench of its own.

The invariant: nothing but JSON goes between the processes, and only the first one writes files. A process is given
points of one seed as long as there are any, since these share most of the work; then it helps with another's.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

from ifedpriv.errors import UserError
from ifedpriv.experiment.curve.bench import Attack, Bench
from ifedpriv.experiment.curve.config import CurveConfig
from ifedpriv.experiment.curve.keys import PRIVATE, Key

Group = tuple[int, bool]


def measure_all(
    config: CurveConfig, keys: Sequence[Key], workers: int, bench: Bench
) -> Iterator[dict[str, Any]]:
    """Measure points, in whatever order they get done.

    Args:
        config: the curve's.
        keys: the points.
        workers: processes; with one, all is done in this process.
        bench: this process's own.

    Yields:
        Points' lines.

    Raises:
        UserError: a run was refused, or a process died.
    """
    queue = _Queue(keys)
    if min(workers, len(keys)) <= 1:
        group = None
        while taken := queue.next(group, set()):
            group, key = taken
            yield bench.measure(key)
        return
    with _started(config, min(workers, len(keys)), bench.attack) as pipes:
        busy: dict[Connection, Group] = {}
        for pipe in pipes:
            _give(pipe, queue, busy, None)
        while busy:
            ready = wait(list(busy))
            for pipe in [each for each in pipes if each in ready]:
                line = _answer(pipe)
                _give(pipe, queue, busy, busy.pop(pipe))
                yield line


class _Queue:
    """What is left to do, by what shares work."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._left: dict[Group, list[Key]] = {}
        for key in keys:
            self._left.setdefault((key.seed, key.kind == PRIVATE and key.unit == "example"), []).append(key)

    def next(self, mine: Group | None, others: set[Group]) -> tuple[Group, Key] | None:
        """A point of one's own group, else of the largest that nobody is at, else of the largest."""
        left = {group: keys for group, keys in self._left.items() if keys}
        if not left:
            return None
        if mine not in left or mine is None:
            free = {group: keys for group, keys in left.items() if group not in others} or left
            mine = max(free, key=lambda group: len(free[group]))
        return mine, left[mine].pop(0)


def _give(pipe: Connection, queue: _Queue, busy: dict[Connection, Group], mine: Group | None) -> None:
    taken = queue.next(mine, set(busy.values()))
    if taken is not None:
        busy[pipe], key = taken
        pipe.send_bytes(json.dumps(key.to_json()).encode())


def _answer(pipe: Connection) -> dict[str, Any]:
    try:
        answer: Mapping[str, Any] = json.loads(pipe.recv_bytes())
    except (EOFError, ConnectionError) as error:
        raise UserError(
            "a process that measured points has died", "it may have had too little memory; lower workers"
        ) from error
    if "refused" in answer:
        raise UserError(*answer["refused"])
    if "fault" in answer:
        raise RuntimeError(answer["fault"])
    return dict(answer["point"])


@contextmanager
def _started(config: CurveConfig, count: int, attack: Attack | None) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    try:
        with _one_thread():
            for _ in range(count):
                ours, theirs = context.Pipe()
                given = (theirs, config.model_dump_json(), attack)
                process = context.Process(target=serve, args=given, daemon=True)
                process.start()
                theirs.close()
                pipes.append(ours)
                processes.append(process)
        yield pipes
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.terminate()
            process.join()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that are started meanwhile do their algebra in one thread."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def serve(pipe: Connection, config: str, attack: Attack | None = None) -> None:
    """A worker's life: a key comes, a point goes, until the other end is closed.

    Args:
        pipe: to the process that started this one.
        config: the curve's, as JSON.
        attack: as `Bench` takes it.
    """
    # Ctrl-C reaches every process of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_the_first, daemon=True).start()
    bench = Bench(CurveConfig.model_validate_json(config), attack)
    while True:
        try:
            key = Key.of(json.loads(pipe.recv_bytes()))
        except (EOFError, ConnectionError):
            return
        try:
            answer: dict[str, Any] = {"point": bench.measure(key)}
        except UserError as error:
            answer = {"refused": [error.message, error.hint]}
        except Exception:
            answer = {"fault": traceback.format_exc()}
        try:
            pipe.send_bytes(json.dumps(answer).encode())
        except (BrokenPipeError, ConnectionError):
            return


def _leave_with_the_first() -> None:
    """End this process as soon as the one that started it is gone, in the middle of a point too."""
    first = multiprocessing.parent_process()
    if first is not None:
        first.join()
        os._exit(1)
