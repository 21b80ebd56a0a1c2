"""Masked sums: pair masks that cancel, self masks that come off, and clients that check each other's word."""
