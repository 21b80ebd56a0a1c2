"""The root of every error this project raises on purpose.

A deliberate error is one sentence that names the field, the value and the remedy. Only faults of our own
keep their traceback.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class IfedprivError(Exception):
    """An error with one clear sentence and, where there is one, a remedy.

    Args:
        message: what was wrong, naming the field and the value; lower case, no full stop.
        hint: what to do about it; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UserError(IfedprivError):
    """Something the user gave cannot be used as it is."""

    exit_code = 2


class NotFiniteError(UserError):
    """Numbers that a client would send are not finite.

    Args:
        what: which numbers, in words that name no value, for example ``"the context vector"``.
        message: see `IfedprivError`.
        hint: see `IfedprivError`.
    """

    def __init__(self, what: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.what = what


class FrameError(IfedprivError):
    """Bytes that are not a frame of this protocol, or not one of a version we read."""


class ProtocolError(IfedprivError):
    """A frame that is well formed but may not arrive in this phase, or from this sender."""


@contextmanager
def reading(what: str, remedy: str) -> Iterator[None]:
    """Make one `FrameError` of whatever wrong content does to code that reads it; usable as a decorator.

    Args:
        what: what is read, for the sentence.
        remedy: what its owner can do.
    """
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError) as error:
        raise FrameError(f"{what} does not hold what it should", remedy) from error
    except (RecursionError, MemoryError) as error:
        raise FrameError(f"{what} is larger than it can be", remedy) from error
