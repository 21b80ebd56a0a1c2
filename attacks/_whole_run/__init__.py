"""Everything that can be tried on one run, piece by piece, as one document: what `ifedpriv audit` does.

The invariant: what was not tried stands in the document with the reason, and never counts as withstood.
"""
