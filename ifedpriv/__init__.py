"""Federated in-context learning with privacy that is measured from both sides."""
