"""What an audit is called and how long it goes on where nobody says; imports nothing heavy, so that help is quick."""

from __future__ import annotations

NAME = "audit"
TRIALS = 10_000
ALPHA = 0.05
ONE_RUN_CANARIES = 1000
NO_BOUND = "there is no bound to audit"
