"""How well something does, and how sure one can be of it."""
