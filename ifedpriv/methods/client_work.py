"""What is computed of a client's examples that no round changes: their tokens and, on request, their activations.

The invariant: what is handed out belongs to the very examples that were asked about. Work is looked up by number and
compared by content, so that two runs may share it whose clients of one number hold different texts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Task
from ifedpriv.icl.calibrate import Calibrator
from ifedpriv.icl.extract import activations
from ifedpriv.icl.prompts import Position
from ifedpriv.methods.method import Client
from ifedpriv.methods.recent import recent

Rows = tuple[list[int], NDArray[np.float32]]
"""Indices into a client's examples, and their activations ``[batch, layers, 2, width]``."""


@dataclass(slots=True, eq=False)
class _Work:
    client: Client
    calibrator: Calibrator
    rows: dict[tuple[Position, int], list[Rows]] = field(default_factory=dict)

    def size(self) -> int:
        return sum(values.nbytes for batches in self.rows.values() for _, values in batches)


class ClientWork:
    """Work on clients' examples for one backbone and one task.

    Args:
        backbone: the frozen model.
        task: the task's wording.
        room: bytes of activations that may be kept. A run asks for them once, so by default none are; runs over the
            same clients that differ in noise alone all ask for the same.
    """

    def __init__(self, backbone: Backbone, task: Task, *, room: int = 0) -> None:
        self._backbone = backbone
        self._task = task
        self._room = room
        self._kept: OrderedDict[int, _Work] = OrderedDict()

    def calibrator(self, client: Client) -> Calibrator:
        """The client's tokenised examples, ready to be calibrated on."""
        return self._of(client).calibrator

    def activations(self, client: Client, position: Position, batch_size: int) -> Iterable[Rows]:
        """What each of a client's training examples adds to the residual stream, in batches of ``batch_size``."""
        work = self._of(client)
        if (position, batch_size) in work.rows:
            return work.rows[position, batch_size]
        found = activations(
            self._backbone,
            self._task,
            client.train,
            position=position,
            batch_size=batch_size,
            demonstrations=work.calibrator.demonstrations,
        )
        size = len(client.train) * self._backbone.n_layers * 2 * self._backbone.width * 4
        if sum(each.size() for each in self._kept.values()) + size > self._room:
            return found
        return work.rows.setdefault((position, batch_size), list(found))

    def _of(self, client: Client) -> _Work:
        kept = self._kept.get(client.number)
        if kept is not None and kept.client != client:
            del self._kept[client.number]
        return recent(self._kept, client, lambda c: _Work(c, Calibrator(self._backbone, self._task, c.train)))
