"""Settings that all tests share."""

from hypothesis import settings

# A busy machine is no reason to fail: no test is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
