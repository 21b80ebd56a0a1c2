"""Differential privacy at the door: what one unit may contribute, and the noise that hides it."""
