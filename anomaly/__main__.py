"""`python -m anomaly` and the console command `anomaly`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run one command and return its exit code."""
    from anomaly.commands.dispatch import dispatch

    return dispatch(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
