"""Arithmetic on arrays that stands between a client and everybody else."""
