"""Attacks that play rounds of their own in place of reading a recording: from options to what is printed.

The invariant: the text and the JSON of one play say the same.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from attacks import PLAYED
from attacks._program.launch import check_home, write_out


@dataclass(frozen=True, slots=True)
class Played:
    """What an attack that plays rounds of its own has to say.

    Attributes:
        document: for a program.
        text: the same for a person.
        code: the exit code.
    """

    document: Mapping[str, Any]
    text: str
    code: int = 0


def add_played_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    """Arguments of one of `attacks.PLAYED`: its own, and where its JSON goes."""
    import_module(PLAYED[name]).add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON there, too")


def run_played(name: str, options: argparse.Namespace) -> int:
    """Run one of `attacks.PLAYED`; returns the exit code."""
    from ifedpriv.commands.console import Stages, print_json, say

    check_home()
    with Stages() as stages:
        played: Played = import_module(PLAYED[name]).play(options, stages.show)
    if options.out is not None:
        write_out(options.out, json.dumps(played.document, indent=1) + "\n")
    if options.json:
        print_json(played.document)
    else:
        say(played.text)
    return played.code
