"""Hypothesis without its stopwatch: a busy machine is no reason for a test to fail."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
