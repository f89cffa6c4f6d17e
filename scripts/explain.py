import sys

from anomaly.commands.dispatch import dispatch

sys.exit(dispatch(["explain", *sys.argv[1:]]))
