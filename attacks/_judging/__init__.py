"""How right guesses are, beside guesses made without the vector: the only room that sees the truth.

The invariant: `score` alone opens it, and no attack imports this room.
"""
