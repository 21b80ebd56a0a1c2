"""What a server could learn: attacks that read a recorded view and the public model, and one that plays the server.

The invariant: naming an attack imports nothing; its module is imported when it is asked for.
"""

from __future__ import annotations

ATTACKS: dict[str, str] = {
    "attributes": "attacks.attributes",
    "coefficients": "attacks.coefficients",
    "deployed": "attacks.deployed",
    "invert": "attacks.invert",
    "labels": "attacks.labels",
    "membership": "attacks.membership",
}
"""Name of each attack on a recording to the module that has its ``guess``."""

PLAYED: dict[str, str] = {
    "server": "attacks.server",
    "template": "attacks.template",
}
"""Likewise, for attacks that play rounds of their own, and so need no recording and have arguments of their own."""

SCRIPTS: dict[str, str] = {
    **ATTACKS,
    **PLAYED,
    "audit": "attacks.audit",
    "diff": "attacks.diff",
    "layers": "attacks.layers",
}
"""Everything that `ifedpriv attack` can be asked for: an audit takes a mechanism in place of a recording, and diff
takes several recordings, and layers makes the same attacks once for each layer."""
