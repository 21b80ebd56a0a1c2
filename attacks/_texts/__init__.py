"""What a vector says of texts: their words, which of a pool they are, and how they read.

The invariant: nothing here imports what opens the truth.
"""
