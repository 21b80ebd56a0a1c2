"""What a server learns by adding and subtracting sums: one client, a few, or the examples that a client has added.

The invariant: from one recording or from several of one federation, every combination of sums is considered, not only
differences of two; and whatever a combination isolates is a vector with a known error, fit for every other attack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attacks._base.targets import OwnUpload
from attacks._differences.colluders import others_in
from attacks._differences.isolated import Differences, differences
from attacks._differences.sums import Private, Sum, read_sums
from defenses.view import ServerView
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.errors import UserError

NAME = "diff"


def diff(
    views: Sequence[ServerView],
    backbone: Backbone,
    minimum: int,
    privates: Sequence[Private | None] = (),
    noise: float = 0.0,
    told: Sequence[Mapping[int, OwnUpload]] = (),
) -> tuple[Differences, tuple[str, ...]]:
    """What the sums of some recordings isolate, and for each recording why it gave none, or nothing.

    Args:
        views: recordings of one federation, in order of time.
        backbone: the public model.
        minimum: the fewest clients that a sum is to hide a client among.
        privates: for each recording, how whole numbers of a private run are read; None where it is none.
        noise: declared standard deviation in each number of a released mean.
        told: for each recording, what colluding clients say that they have added.

    Raises:
        UserError: the recordings are of different tasks or models.
    """
    sums: list[Sum] = []
    why = []
    for number, view in enumerate(views):
        if view.facts.task != views[0].facts.task:
            raise UserError(
                f"recording {number + 1} is of another task than recording 1",
                "give recordings of one federation: the same model, template and label words",
            )
        found, reason = read_sums(
            view, backbone, number, privates[number] if number < len(privates) else None, noise
        )
        sums += others_in(found, told[number]) if number < len(told) else found
        why.append(reason)
    return differences(sums, minimum), tuple(why)


if __name__ == "__main__":
    from attacks._program.launch import main

    raise SystemExit(main(NAME))
