"""Masked sums of a few numbers, many times over: keys agreed once, three small frames a client and round."""
