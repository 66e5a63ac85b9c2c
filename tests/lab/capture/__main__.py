"""Make the samples again as root: python -m tests.lab.capture tests/data/captured-2026."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .capture import capture
from .daemons import UnavailableError


def main() -> int:
    """Run the capture; exit status 2 when it cannot run here."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.capture", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the logs and counts.json")
    parser.add_argument("--rounds", type=int, default=3, help="how often each client asks all its questions")
    arguments = parser.parse_args()
    try:
        counts = capture(arguments.out, rounds=arguments.rounds)
    except UnavailableError as reason:
        print(f"capture: {reason}", file=sys.stderr)
        return 2
    print(json.dumps(counts["kinds"], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
