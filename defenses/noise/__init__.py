"""Noise and rounding on whole numbers, drawn exactly: what mechanisms are made of."""
