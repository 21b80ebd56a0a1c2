"""What every attack stands on: knowledge in, guesses out, and the vectors that a recording shows.

The invariant: nothing here imports what opens the truth.
"""
