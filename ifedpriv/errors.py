"""The errors of the pipeline: what a user can mend is a `UserError`."""

from defenses.errors import FrameError, IfedprivError, ProtocolError, UserError

__all__ = ["FrameError", "IfedprivError", "InputError", "ModelError", "ProtocolError", "UserError"]


class InputError(UserError):
    """A file, a row or a field of the user's data cannot be used."""


class ModelError(UserError):
    """A backbone or an injection that this project cannot work with."""
