"""``python -m seismolog`` is the same as ``seismolog``."""

from seismolog.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
