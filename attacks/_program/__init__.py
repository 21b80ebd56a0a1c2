"""From an argument list to an exit code: one launcher for all attacks, and those that need one of their own.

The invariant: scripts and `ifedpriv attack` come through here, so that there is one program.
"""
