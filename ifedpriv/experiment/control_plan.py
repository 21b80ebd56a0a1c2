"""Which controls a configuration asks for, which of them it cannot have and why, and from what they are made.

The one invariant: all of this follows from the configuration alone, so that a curve knows its points before anything
is read. Nothing here imports a model.
"""

from __future__ import annotations

from defenses.privacy_specs import PublicSpec
from ifedpriv.config import RunConfig
from ifedpriv.data.shipped import Recipe, recipes
from ifedpriv.data.specs import DataSpec, EmbeddedData
from ifedpriv.methods.specs import IfedIclSpec, PrototypeIclSpec
from ifedpriv.report.parts import CONTROL_ROWS, OTHER_TASK, PUBLIC_MEAN

MOST_EXAMPLES = 400
"""Examples behind another task's vector at most: its mean hardly moves with more."""


def wanted(config: RunConfig) -> bool:
    """Whether controls are measured: they are switched on, and the method has vectors."""
    return config.controls.enabled and isinstance(config.method, IfedIclSpec | PrototypeIclSpec)


def evaluable(config: RunConfig) -> tuple[str, ...]:
    """The controls that are measured, in the order of the table; none where none are wanted."""
    missing = lacking(config)
    return tuple(key for key in CONTROL_ROWS if key not in missing) if wanted(config) else ()


def lacking(config: RunConfig) -> dict[str, str]:
    """What cannot be measured, and why, one sentence each; empty where nothing is wanted."""
    found: dict[str, str] = {}
    if not wanted(config):
        return found
    if public_field(config)[1].path is None and config.data.source != "embedded":
        found[PUBLIC_MEAN] = (
            "the control with the public mean was not evaluable, since only the shipped tasks come with public texts "
            "and controls.public names none"
        )
    if other_spec(config) is None:
        found[OTHER_TASK] = (
            "the control with another task's vector was not evaluable, since controls.other names no task"
        )
    return found


def public_field(config: RunConfig) -> tuple[str, PublicSpec]:
    """The public texts, and the field that names them."""
    privacy = config.defense.privacy
    if config.controls.public is None and privacy is not None:
        return "defense.privacy.public", privacy.public
    return "controls.public", config.controls.public or PublicSpec()


def other_spec(config: RunConfig) -> DataSpec | None:
    """The other task: the one that is named, else a shipped one for a shipped one, else none."""
    if config.controls.other is not None or not isinstance(config.data, EmbeddedData):
        return config.controls.other
    name = another_task(config.data.name)
    return EmbeddedData(name=name, train=MOST_EXAMPLES, validation=1, test=1, seed=config.data.seed)


def another_task(name: str) -> str:
    """The next shipped task, in the order of the list, that sorts by another attribute, with one convention for all."""
    names, own = list(recipes()), recipes().get(name)
    # A name that is not shipped is refused where the data are read.
    start = names.index(name) + 1 if own else 0
    return next(other for other in names[start:] + names[:start] if _is_other(own, recipes()[other]))


def _is_other(own: Recipe | None, other: Recipe) -> bool:
    # Copying conventions sort by nothing, and only one client group's convention can be a vector's.
    attribute = other.conventions[0].attribute
    taken = {convention.attribute for convention in own.conventions} if own else set()
    return len(other.conventions) == 1 and bool(attribute) and attribute not in taken
