"""The root of every error this project raises on purpose.

A deliberate error is one sentence that names the field, the value and the remedy. Only faults of our own
keep their traceback.
"""


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


class FrameError(IfedprivError):
    """Bytes that are not a frame of this protocol, or not one of a version we read."""


class ProtocolError(IfedprivError):
    """A frame that is well formed but may not arrive in this phase, or from this sender."""
