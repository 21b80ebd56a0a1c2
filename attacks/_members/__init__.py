"""Whether a text was in: scores from vectors, from coefficients, and from losses of the finished injection.

The invariant: nothing here imports what opens the truth.
"""
