"""What a server could learn: attacks that read a recorded view and the public model.

The invariant: naming an attack imports nothing; its module is imported when it is asked for.
"""

from __future__ import annotations

ATTACKS: dict[str, str] = {
    "invert": "attacks.invert",
    "labels": "attacks.labels",
    "membership": "attacks.membership",
}
"""Name of each attack to the module that has its ``guess``."""
