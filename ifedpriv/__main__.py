"""`python -m ifedpriv` is the command `ifedpriv`."""

from ifedpriv.commands import main

if __name__ == "__main__":
    raise SystemExit(main())
