"""What an audit is called, and how long it and attacks go on where nobody says; light, so that help is quick."""

from __future__ import annotations

NAME = "audit"
TRIALS = 10_000
ALPHA = 0.05
ONE_RUN_CANARIES = 1000
TEXTS = 200
"""The most public texts among which an audit looks for the farthest and an ordinary one."""
SHADOWS, FEWEST_SHADOWS = 64, 4
"""How many vectors or calibrations of its own an attack compares with, and the fewest that have a variance."""
NO_BOUND = "there is no bound to audit"
NOTHING_ALONE = "a bound is declared, and no round of the run can be played alone"
"""Likewise, where there is a bound, and no release that could be called by itself."""
