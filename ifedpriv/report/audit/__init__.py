"""An audit for readers: the same sections as plain text, as Markdown and as a page.

The invariant: all three are made from one list of sections, which is made from the JSON alone, so they cannot differ.
"""
