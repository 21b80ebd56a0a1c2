"""What stands behind an upload, one row for each example, so that a door can bound what one example does.

A mean hides how much of it one example made, and no bound can be enforced on it afterwards. Where a guarantee is
about examples, a method therefore gives the rows and the door takes the mean. Invariant: the rows are passed on
once, batch by batch, and never kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from defenses.errors import UserError
from defenses.upload import Layout, Upload, UploadKind


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Records:
    """One client's examples in one round.

    Attributes:
        layout: names and shapes of one example's arrays.
        batches: float arrays ``[batch, layout.size]``, each row an example's numbers in layout order; read once.
        round: number of the round.
        kind: what the numbers are.
    """

    layout: Layout
    batches: Iterator[npt.NDArray[np.floating]]
    round: int
    kind: UploadKind

    def mean(self) -> Upload:
        """The plain mean, in float64, with the number of examples as its weight.

        Raises:
            UserError: there is no example, or a number is not finite.
        """
        total, count = np.zeros(self.layout.size, dtype=np.float64), 0
        for rows in self.batches:
            total += rows.sum(axis=0, dtype=np.float64)
            count += len(rows)
        if not count:
            raise UserError("upload stands for 0 examples", "a client without examples sends nothing")
        return Upload(self.layout.unflatten((total / count).astype(np.float32)), count, self.round, self.kind)

    def __repr__(self) -> str:
        return f"Records({self.kind}, round={self.round}, {self.layout.size} numbers an example)"
