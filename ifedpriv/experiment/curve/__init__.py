"""Accuracy against epsilon: which points, how each is measured, how they are spread over cores, what they come to."""
