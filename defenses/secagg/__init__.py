"""Sums that a server can open without opening any summand."""
