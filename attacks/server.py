"""A server that cheats, against the very client sessions of a deployment: what do they answer?

Needs no run and no recording: it makes small rounds, plays every lie that the protocol's pages name, and says of each
whether a client refused it, whether it got the server nothing, or what it learned. The invariant: every attack is tried
a second time on clients that lack what stops it, and there it must succeed, so that a refusal means something.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.util import find_spec

from attacks._program.played import Played
from ifedpriv.errors import InputError

NAME = "server"
LANES = ("masked", "ratchet", "bfv", "ckks")
"""Ways of summing, as `--lane` names them; kept beside `attacks._server.case.Lane`, which loads the ciphers."""
BROKEN = 1
"""Exit code where something was learned or spoiled, or an attack fails where it should succeed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv attack server`."""
    parser.add_argument(
        "--lane",
        action="append",
        choices=LANES,
        help="try this way of summing only; may be given again (default: all)",
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="ATTACK",
        help="try the attack of this name only; may be given again",
    )
    parser.add_argument("--list", action="store_true", help="list the attacks and try none")
    parser.add_argument(
        "--weakened",
        action="store_true",
        help=f"judge clients that each lack one check, to see the audit fail (exit code {BROKEN})",
    )


def play(options: argparse.Namespace, progress: Callable[[str, int, int], None]) -> Played:
    """Play the attacks; the code is 0 if all were withstood, `BROKEN` if not.

    Raises:
        InputError: an attack is named that there is not.
    """
    from attacks._server.case import Lane
    from attacks._server.suite import cases, render, results, summary

    lanes = tuple(Lane(lane) for lane in options.lane or Lane)
    chosen = cases(lanes, options.only or ())
    strangers = sorted(set(options.only or ()) - {case.name for case in chosen})
    if strangers:
        raise InputError(f"--only names {strangers[0]!r}, which is no attack here", "--list shows all")
    if options.list:
        width = max((len(case.name) for case in chosen), default=0)
        text = "\n".join(f"{case.lane!s:<8} {case.name:<{width}}  {case.does}" for case in chosen)
        return Played(
            {"attacks": [{"lane": str(c.lane), "name": c.name, "does": c.does} for c in chosen]}, text
        )
    missing = [] if find_spec("tenseal") else [str(lane) for lane in lanes if lane in (Lane.BFV, Lane.CKKS)]
    document = summary(results(chosen, progress, weakened=options.weakened), missing)
    return Played(document, render(document), BROKEN if document["broken"] or document["unproved"] else 0)


if __name__ == "__main__":
    from attacks._program.launch import main

    raise SystemExit(main(NAME))
