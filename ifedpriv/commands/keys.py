"""Make the key files of an encrypted run: the key holder's, the server's, and one for each client."""

from __future__ import annotations

import argparse
from pathlib import Path

from ifedpriv.commands.console import print_json, say
from ifedpriv.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv keys`."""
    parser.add_argument("--kind", choices=("bfv", "ckks"), required=True, help="as defense.kind of the run")
    parser.add_argument(
        "--clients",
        required=True,
        metavar="N",
        help="how many clients (numbered from 0), or their numbers: 3,5,8",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder for the files")
    parser.add_argument(
        "--encryption",
        choices=("public", "symmetric"),
        default="public",
        help="as defense.encryption of the run (default: public)",
    )
    parser.add_argument("--json", action="store_true", help="print the files' names as JSON")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    clients = _numbers(options.clients)
    from defenses.entropy import SecureEntropy
    from defenses.secagg.homomorphic.key_files import write_key_files
    from defenses.secagg.homomorphic.keys import HolderKeys
    from defenses.secagg.homomorphic.parameters import Scheme

    keys = HolderKeys.generate(Scheme(options.kind), SecureEntropy(), encryption=options.encryption)
    holder, server, *others = write_key_files(options.out, keys, clients)
    if options.json:
        print_json(
            {
                "key": keys.key_id.hex(),
                "holder": str(holder),
                "server": str(server),
                "clients": [*map(str, others)],
            }
        )
        return 0
    say(
        f"{holder}: the key holder's; whoever reads it opens every upload, so leave it on the key holder's machine\n"
        f"{server}: the server's; holds no secret\n"
        f"{others[0].parent}/client-N.key: one for each of {len(others)} clients; hand each to its client, "
        "unseen by the server, and delete it here\n"
        f"Key {keys.key_id.hex()}, {options.kind}, {options.encryption} encryption."
    )
    return 0


def _numbers(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    try:
        numbers = tuple(int(part) for part in parts)
    except ValueError as error:
        raise InputError(f"--clients is {text!r}", "give a number, or numbers with commas between") from error
    if len(parts) > 1 or text.endswith(","):
        if min(numbers) < 0 or len(set(numbers)) != len(numbers):
            raise InputError(f"--clients is {text!r}", "give each client's number once, from 0 on")
        return numbers
    if not 1 <= numbers[0] <= 100_000:
        raise InputError(f"--clients is {numbers[0]}", "give 1 to 100000 clients")
    return tuple(range(numbers[0]))
