"""Several answers in place of one mean: which clients belong together, found from sums alone."""
