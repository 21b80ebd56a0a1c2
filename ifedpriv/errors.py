"""The errors of the pipeline: what a user can mend is a `UserError`."""

from collections.abc import Iterator
from contextlib import contextmanager

from defenses.errors import FrameError, IfedprivError, NotFiniteError, ProtocolError, UserError

__all__ = [
    "FrameError",
    "IfedprivError",
    "InputError",
    "ModelError",
    "NotFiniteError",
    "NotFiniteModelError",
    "ProtocolError",
    "UserError",
    "writing",
]


class InputError(UserError):
    """A file, a row or a field of the user's data cannot be used."""


class ModelError(UserError):
    """A backbone or an injection that this project cannot work with."""


class NotFiniteModelError(NotFiniteError, ModelError):
    """What was to be injected, or sent, is not finite."""


@contextmanager
def writing(what: str, remedy: str) -> Iterator[None]:
    """What the system refuses to write inside is a sentence about ``what``.

    Args:
        what: the option and its value, as a user gave them.
        remedy: what to give instead.

    Raises:
        InputError: an `OSError` was raised inside.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{what} cannot be written ({error.strerror or type(error).__name__})", remedy
        ) from error
