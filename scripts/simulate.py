import sys

from anomaly.commands.dispatch import dispatch

sys.exit(dispatch(["simulate", *sys.argv[1:]]))
