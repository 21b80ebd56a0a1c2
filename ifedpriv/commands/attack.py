"""Attack a run's recording and say what it leaks; audit a mechanism; or play a cheating server."""

from __future__ import annotations

import argparse

from attacks import PLAYED, SCRIPTS
from attacks._program.launch import add_arguments as add_common
from attacks._program.launch import run as launch
from attacks._program.played import add_played_arguments, run_played

_SUMMARIES = {
    "attributes": "what kind of texts a client holds: domain, language, and what else public texts tell of",
    "audit": "whether a mechanism keeps the bound that is declared for it; a run's own, or any callable",
    "coefficients": "whose texts and labels the coefficients tell, and which rounds are of one client",
    "deployed": "whether a text was in, by losses of the finished injection alone",
    "diff": "which clients, or which new examples, sums give away when they are added and subtracted",
    "invert": "which words, and which texts of a pool, a client holds",
    "labels": "how many examples of each class a client holds",
    "layers": "how much each layer and each branch of the vectors tells, as a curve",
    "membership": "whether a text was among a client's examples, or anybody's",
    "server": "what clients answer to a server that cheats; needs no run",
    "template": "how much more clients tell a server that chooses the template; needs no run",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv attack`."""
    from attacks._program.audit_launch import add_arguments as add_audit
    from attacks._program.diff_launch import add_arguments as add_diff
    from attacks._program.layers_launch import add_arguments as add_layers

    names = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    for name in sorted(SCRIPTS):
        sub = names.add_parser(name, help=_SUMMARIES[name], description=_SUMMARIES[name])
        if name in PLAYED:
            add_played_arguments(name, sub)
            continue
        add_common(sub)
        if name == "audit":
            add_audit(sub)
        if name == "diff":
            add_diff(sub)
        if name == "layers":
            add_layers(sub)


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    if options.name in PLAYED:
        return run_played(options.name, options)
    if options.name == "audit":
        from attacks._program.audit_launch import run as audit

        return audit(options)
    if options.name == "diff":
        from attacks._program.diff_launch import run as diff

        return diff(options)
    if options.name == "layers":
        from attacks._program.layers_launch import run as layers

        return layers(options)
    return launch(options.name, options)
