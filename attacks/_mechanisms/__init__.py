"""Audits of a mechanism against what is declared of it: games with canaries, replays, one run with many canaries.

The invariant: a mechanism is called and its outputs are read; what a run's clients hold is not known here.
"""
