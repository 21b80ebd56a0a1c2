"""Rounds over a transport: who takes part, what crosses the wire, and what the server sees of it."""
