"""What adding and subtracting sums gives: the algebra of rosters, and the vectors that it isolates.

The invariant: nothing here imports what opens the truth.
"""
