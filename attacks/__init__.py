"""What a server could learn: attacks that read a recorded view and the public model, and one that plays the server.

The invariant: naming an attack imports nothing; its module is imported when it is asked for.
"""

from __future__ import annotations

ATTACKS: dict[str, str] = {
    "invert": "attacks.invert",
    "labels": "attacks.labels",
}
"""Name of each attack to the module that has its ``guess``."""

PLAYED: dict[str, str] = {
    "server": "attacks.server",
}
"""Likewise, for attacks that play rounds of their own, and so need no recording and have arguments of their own."""
