"""What of a recording is attacked: as it was made, or under a private release as the server can read it back.

The invariant: whatever is made of a recording here could be made by the server itself, from frames and from what is
public; the truth goes to the judge alone.
"""
