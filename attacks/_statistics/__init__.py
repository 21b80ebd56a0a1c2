"""Arithmetic on scores and counts: areas, rates, intervals, and bounds on epsilon.

The invariant: nothing here knows of vectors, texts or models.
"""
