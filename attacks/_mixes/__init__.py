"""What a vector says of shares: of labels, of attributes, of candidates in a mixture.

The invariant: nothing here imports what opens the truth.
"""
