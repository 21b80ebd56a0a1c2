"""The guard's round, for every method that injects: what a client reports, and what the server makes of it.

The one invariant: a client tells of its held-out examples alone, in two numbers each: right with the injection, and
right without.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from defenses.records import Records
from defenses.session import Aggregate
from defenses.upload import Layout, UploadKind
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Task
from ifedpriv.icl.evaluate import answer
from ifedpriv.icl.guard import GuardVerdict
from ifedpriv.icl.predict import Adaptation
from ifedpriv.methods.method import Client

ASKED = UploadKind.SCORES, Layout.of({"right": (2,)})
"""What the guard's round asks for."""


def scores(
    backbone: Backbone, task: Task, client: Client, injection: Adaptation, round_number: int
) -> Records:
    """One row for each held-out example of a client: right with the injection, right without."""
    held = client.validation
    injected = answer(backbone, task, held, injection=injection)
    plain = answer(backbone, task, held)
    right = np.stack([injected.right, plain.right], axis=1)
    kind, layout = ASKED
    return Records(layout, iter([right]), round_number, kind)


def pooled(aggregate: Aggregate) -> NDArray[np.float32]:
    """Share of right answers with and without the injection, and how many examples there were, float32 ``[3]``."""
    return np.asarray([*aggregate.means["right"], aggregate.total_weight], dtype=np.float32)


def verdict_of(found: NDArray[np.float32], *, noised: bool) -> GuardVerdict:
    """The verdict on what `pooled` gave."""
    injected, plain, examples = (float(x) for x in found)
    # Noise can carry a share out of its range.
    injected, plain = (min(max(share, 0.0), 1.0) for share in (injected, plain))
    return GuardVerdict(injected, plain, round(examples), noised)
