"""Progress is for people, JSON is for programs, and an error is two lines at most."""

import io
import json

import pytest

from ifedpriv.commands.console import Progress, fail, print_json, say
from ifedpriv.errors import IfedprivError, InputError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


def test_progress_is_silent_in_a_pipe():
    pipe = io.StringIO()
    with Progress(3, "rounds", pipe) as progress:
        for _ in range(3):
            progress.advance(note="loss 1.2")
    assert pipe.getvalue() == ""


def test_progress_is_silent_on_a_dumb_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    with Progress(1, "rounds", terminal) as progress:
        progress.advance()
    assert terminal.getvalue() == ""


def test_progress_shows_the_start_and_the_end_and_erases_its_line():
    terminal = Terminal()
    with Progress(4, "rounds", terminal) as progress:
        for _ in range(4):
            progress.advance(note="loss 1.2")
    drawn = terminal.getvalue().split("\r\x1b[2K")
    assert drawn[1] == "rounds [........................] 0/4"
    assert drawn[-2] == "rounds [########################] 4/4 loss 1.2"
    assert drawn[-1] == ""


def test_progress_erases_its_line_when_the_work_fails():
    terminal = Terminal()
    with pytest.raises(RuntimeError), Progress(4, "rounds", terminal):
        raise RuntimeError
    assert terminal.getvalue().endswith("\r\x1b[2K")


def test_progress_never_fills_a_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    with Progress(1, "rounds", terminal) as progress:
        progress.advance(note="x" * 200)
    assert max(len(line) for line in terminal.getvalue().split("\r\x1b[2K")) == 39


def test_progress_cannot_be_steered_by_a_note():
    terminal = Terminal()
    with Progress(1, "rounds", terminal) as progress:
        progress.advance(note="\x1b]0;title\x07\nnext")
    assert "?]0;title? next" in terminal.getvalue()


def test_progress_redraws_when_time_has_passed(monkeypatch):
    clock = iter(float(second) for second in range(100))
    monkeypatch.setattr("ifedpriv.commands.console.time.monotonic", lambda: next(clock))
    terminal = Terminal()
    with Progress(10, "rounds", terminal) as progress:
        progress.advance()
        progress.advance()
    assert " 1/10 " in terminal.getvalue() and " 2/10 " in terminal.getvalue()
    assert ":" in terminal.getvalue() and "left" in terminal.getvalue()


def test_progress_with_too_many_steps_stays_full():
    terminal = Terminal()
    with Progress(0, "nothing", terminal) as progress:
        progress.advance(5)
    assert "1/1" in terminal.getvalue()


def test_json_is_one_ascii_document(capsys):
    print_json({"name": "Zürich", "values": [1, 0.5, None, True]})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"name": "Zürich", "values": [1, 0.5, None, True]}
    assert out.isascii() and out.endswith("}\n") and err == ""


def test_json_has_no_nan(capsys):
    with pytest.raises(ValueError):
        print_json({"value": float("nan")})
    assert capsys.readouterr().out == ""


def test_an_error_is_two_lines_on_standard_error(capsys):
    code = fail(InputError("rounds is 0; it must be above 0", "leave it out to get 30"))
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err == "ifedpriv: error: rounds is 0; it must be above 0\nifedpriv: hint: leave it out to get 30\n"


def test_an_error_without_hint_is_one_line_that_no_name_can_break(capsys):
    code = fail(IfedprivError("file 'a\nifedpriv: hint: rm\x1b[2J' is missing"))
    err = capsys.readouterr().err
    assert code == 1
    assert err == "ifedpriv: error: file 'a ifedpriv: hint: rm?[2J' is missing\n"


def test_text_that_the_terminal_cannot_show_is_escaped_and_not_a_crash():
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    say("Zürich", out)
    out.flush()
    assert raw.getvalue() == b"Z\\xfcrich\n"
