"""A cheating server, and the honest clients that it plays against: what `attacks/server.py` is made of.

Invariant: the clients, the key holder and whatever else an attack is tried on are the very classes that a deployment
runs. What is weakened on purpose is a subclass in `weakened`, and nothing outside this folder can choose it.
"""
