"""A recording once more, with some of its frames made anew: what every control on random uploads is.

The invariant: who sent what to whom, in which round and in which order, stays as it was recorded; a frame is replaced
or left out, and none is added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from attacks._base.recorded_sums import SumsInOrder
from defenses.errors import FrameError
from defenses.frame import DecodedFrame, decode, encode, peek
from defenses.session import RoundInfo
from defenses.upload import Layout, Upload, UploadKind
from defenses.view import Direction, FrameRecord, ServerView, ServerViewWriter
from defenses.view_facts import SumFacts

Change = Callable[[FrameRecord], bytes | None]
"""What stands in the copy for a recorded frame; None where it is left out."""


def changed_copy(
    view: ServerView,
    folder: Path,
    change: Change,
    rounds: Sequence[RoundInfo] | None = None,
    *,
    layouts: Sequence[Layout] = (),
    whose: Callable[[SumFacts], SumFacts] = lambda told: told,
) -> ServerView:
    """The recording with every frame as it is changed.

    Args:
        view: the recording.
        folder: where the copy goes, an empty one.
        change: of each frame; one that does not decode may raise FrameError, and is left out.
        rounds: those that begin in the copy; None for all.
        layouts: of changed frames, where the recording has them not.
        whose: what the copy says of whose uploads are in a sum.
    """
    facts = view.facts
    told = SumsInOrder(view)
    with ServerViewWriter.create(
        folder, backbone=facts.backbone, task=facts.task, defense=facts.defense
    ) as writer:
        for entry in facts.rounds if rounds is None else rounds:
            writer.begin_round(entry)
        for layout in (*facts.layouts, *layouts):
            writer.add_layout(layout)
        for record in view.frames():
            listed: SumFacts | None = None
            try:
                if record.direction is Direction.COMPUTED:
                    # A frame that is left out takes its entry along.
                    listed = told.next(record.round, peek(record.frame).kind)
                frame = change(record)
            except FrameError:
                continue
            if frame is not None:
                if listed is not None:
                    writer.add_sum(whose(listed))
                writer.append(
                    record.direction,
                    sender=record.sender,
                    recipient=record.recipient,
                    round_number=record.round,
                    frame=frame,
                )
    return ServerView.open(folder)


def read_frame(view: ServerView, record: FrameRecord) -> DecodedFrame | None:
    """What a frame holds; None where the server has no layout for it.

    Raises:
        FrameError: it does not decode.
    """
    layout = view.facts.layout(peek(record.frame).layout_digest)
    return decode(record.frame, layout) if layout is not None else None


def written_anew(old: DecodedFrame, upload: Upload) -> bytes:
    """Another upload in place of a frame's, from the same sender and at the same precision."""
    return encode(upload, old.sender, old.precision)


def is_of(record: FrameRecord, direction: Direction, kind: UploadKind) -> bool:
    """Whether a frame went that way with an upload of that kind.

    Raises:
        FrameError: it does not decode.
    """
    return record.direction is direction and peek(record.frame).kind is kind
