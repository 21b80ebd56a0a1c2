"""What each round of a real private run was about to release, on disk before the round sends its first frame.

A checkpoint comes after a round, so a round that was stopped in its middle is in none, and its frames may be with the
server all the same. Invariant: lines are only ever added, each is on disk before anything of its round is sent, and one
that no checkpoint has settled is charged when the run goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from defenses.ledger import Event, Ledger
from ifedpriv.errors import UserError

_INTERRUPTED = ", in a round that was interrupted"


class Intents:
    """The lines of one run.

    Args:
        path: the file; made with its first line.

    Attributes:
        count: how many rounds have been begun, each as often as it was.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = len(self._lines())

    def write(self, round_number: int, events: Sequence[Event]) -> None:
        """Have on disk what a round is about to release, if everybody who is asked sends."""
        ledger = Ledger()
        for event in events:
            ledger.add(event)
        line = json.dumps({"round": round_number, "ledger": json.loads(ledger.to_json())}) + "\n"
        new = not self._path.exists()
        with self._path.open("ab") as file:
            # A line that a crash cut off was of a round that had sent nothing.
            file.truncate(sum(map(len, self._lines())))
            file.write(line.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        if new:
            _sync_folder(self._path.parent)
        self.count += 1

    def after(self, settled: int) -> list[tuple[int, tuple[Event, ...]]]:
        """Rounds that were begun and that the first ``settled`` lines do not have, with what they may have released."""
        try:
            lines = [json.loads(line) for line in self._lines()[settled:]]
            return [(int(line["round"]), _events(json.dumps(line["ledger"]))) for line in lines]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self._path} does not hold what the rounds of this run were about to release",
                "put it back as it was: without it nobody knows what has been spent",
            ) from error

    def _lines(self) -> list[bytes]:
        """Every whole line, its end included."""
        if not self._path.exists():
            return []
        return [line for line in self._path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def charge_interrupted(intents: Intents, settled: int, ledger: Ledger) -> None:
    """Charge every round that was begun and never settled, as if all that were asked had sent."""
    for _, events in intents.after(settled):
        for event in events:
            ledger.add(replace(event, released=event.released + _INTERRUPTED))


def interrupted_rounds(ledger: Ledger) -> tuple[int, ...]:
    """Numbers of the rounds that were charged so, ascending, each once."""
    return tuple(sorted({event.round for event in ledger.events if event.released.endswith(_INTERRUPTED)}))


def _events(text: str) -> tuple[Event, ...]:
    return Ledger.from_json(text).events


def _sync_folder(folder: Path) -> None:
    """A new file is only there after a crash if its folder says so."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
