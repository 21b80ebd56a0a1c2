"""Federated in-context learning with privacy that is measured from both sides.

The names below are the public interface; each is imported when it is first used, so that importing the
package loads no model library.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ifedpriv.api import Fitted, IFedICL
    from ifedpriv.backbone.backbone import Backbone
    from ifedpriv.data.task import Example, Task
    from ifedpriv.icl.injection import Injection
    from ifedpriv.icl.vectors import Coefficients, ContextVector

# Threads of a model wait for each other by spinning, unless this is said before torch is loaded: on a busy machine two
# threads then took fifty times as long as one. Whoever has said otherwise is left alone.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOMES = {
    "Backbone": "ifedpriv.backbone.backbone",
    "Coefficients": "ifedpriv.icl.vectors",
    "ContextVector": "ifedpriv.icl.vectors",
    "Example": "ifedpriv.data.task",
    "Fitted": "ifedpriv.api",
    "IFedICL": "ifedpriv.api",
    "Injection": "ifedpriv.icl.injection",
    "Task": "ifedpriv.data.task",
}

__all__ = [
    "Backbone",
    "Coefficients",
    "ContextVector",
    "Example",
    "Fitted",
    "IFedICL",
    "Injection",
    "Task",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ifedpriv' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
