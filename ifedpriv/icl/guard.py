"""The guard: identity is always a candidate, and an injection ships as an improvement only if it is one.

It looks at clients' held-out examples, never at test data. What the clients report for it (a number of right
answers each) leaves them, so it is a release like any other and goes through the same door.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GuardVerdict:
    """Held-out accuracy with and without the injection.

    Attributes:
        injected: share of right answers with the injection, over all clients' held-out examples.
        plain: the same without it.
        examples: how many held-out examples stand behind both.
        noised: all three bear the noise that hides single examples or clients, so a small difference says nothing.
        public_tasks: how many public tasks they were measured on in place of the clients' examples; 0 for the clients'.
    """

    injected: float
    plain: float
    examples: int
    noised: bool = False
    public_tasks: int = 0

    @property
    def improves(self) -> bool:
        """Whether the injection beats the model as it is."""
        return self.injected > self.plain

    def sentence(self) -> str:
        """The verdict in words."""
        if self.public_tasks:
            return self._of_public_tasks()
        figures = (
            f"{self.injected:.3f} against {self.plain:.3f} without it, on {self.examples} held-out examples"
            + (", with the noise of differential privacy in all three" if self.noised else "")
        )
        if self.improves:
            return f"the injection improves the model: {figures}"
        return f"the injection does NOT improve the model and should not be used: {figures}"

    def _of_public_tasks(self) -> str:
        figures = (
            f"{self.injected:.3f} against {self.plain:.3f} without it, on {self.examples} queries of "
            f"{self.public_tasks} public tasks that the coefficients were not calibrated on; nobody's own held-out "
            "examples were looked at"
        )
        if self.improves:
            return f"injections with these public coefficients improve the model: {figures}"
        return f"injections with these public coefficients do NOT improve the model and should not be used: {figures}"
