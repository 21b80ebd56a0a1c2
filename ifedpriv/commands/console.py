"""What a command says to a person and to a program.

The one invariant: results go to standard output and nothing else does; progress and errors go to standard
error, and progress only where a person watches it.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from os import environ
from types import TracebackType
from typing import Self, TextIO

from ifedpriv.errors import IfedprivError

_REDRAW_SECONDS = 0.1
_BAR_COLUMNS = 24
_ERASE_LINE = "\r\x1b[2K"

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


class Progress:
    """A progress bar on a terminal, and nothing at all in a pipe.

    Used as a context manager; the bar's line is erased at the end, so that a log of the screen shows results.

    Args:
        total: how many steps there are.
        label: what is going on, in a word or two.
        stream: where to draw; standard error by default.
    """

    def __init__(self, total: int, label: str, stream: TextIO | None = None) -> None:
        self._total = max(total, 1)
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._shown = self._stream.isatty() and environ.get("TERM") != "dumb"
        self._done = 0
        self._note = ""
        self._started = time.monotonic()
        self._drawn = float("-inf")

    def __enter__(self) -> Self:
        self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._stream.write(_ERASE_LINE)
            self._stream.flush()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Say that ``steps`` more are done, and what is to be seen beside the bar."""
        self._done = min(self._done + steps, self._total)
        self._note = note
        if self._done == self._total or time.monotonic() - self._drawn >= _REDRAW_SECONDS:
            self._draw()

    def _draw(self) -> None:
        if not self._shown:
            return
        self._drawn = time.monotonic()
        filled = _BAR_COLUMNS * self._done // self._total
        bar = "#" * filled + "." * (_BAR_COLUMNS - filled)
        parts = [self._label, f"[{bar}]", f"{self._done}/{self._total}", self._remaining(), self._note]
        line = " ".join(_clean(part) for part in parts if part)
        # One column stays free: a full line would wrap and could not be erased.
        self._stream.write(_ERASE_LINE + line[: shutil.get_terminal_size().columns - 1])
        self._stream.flush()

    def _remaining(self) -> str:
        if not 0 < self._done < self._total:
            return ""
        seconds = (time.monotonic() - self._started) * (self._total - self._done) / self._done
        minutes, seconds = divmod(round(seconds), 60)
        return f"{minutes}:{seconds:02d} left"


class Stages:
    """One bar after the other, for work that reports its stage, what is done of it, and how much there is."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._stage = ""
        self._bar: Progress | None = None
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def show(self, stage: str, done: int, total: int) -> None:
        """Say how far a stage is; a new stage's name starts a new bar."""
        if self._bar is None or stage != self._stage:
            self.__exit__(None, None, None)
            self._bar, self._stage, self._done = Progress(total, stage, self._stream), stage, 0
        self._bar.advance(done - self._done)
        self._done = done


def say(text: str, stream: TextIO | None = None) -> None:
    """Print lines of a result, with ``\\u`` escapes where the terminal's encoding lacks a character."""
    out = sys.stdout if stream is None else stream
    encoding = getattr(out, "encoding", None) or "utf-8"
    out.write(text.encode(encoding, "backslashreplace").decode(encoding))
    if not text.endswith("\n"):
        out.write("\n")


def print_json(value: Json, stream: TextIO | None = None) -> None:
    """Print one JSON document in ASCII; a NaN or an infinity is a fault of ours and raises ValueError."""
    say(json.dumps(value, indent=2, allow_nan=False), stream)


def fail(error: IfedprivError, stream: TextIO | None = None) -> int:
    """Print an error, and its remedy if it has one, and return the exit code that belongs to it."""
    err = sys.stderr if stream is None else stream
    say(f"ifedpriv: error: {_clean(error.message)}", err)
    if error.hint:
        say(f"ifedpriv: hint: {_clean(error.hint)}", err)
    return error.exit_code


def _clean(text: str) -> str:
    """``text`` on one line, without characters that a terminal would obey: names in it are a stranger's."""
    return "".join(mark if mark.isprintable() else "?" for mark in " ".join(text.split()))
