import sys

from anomaly.commands.dispatch import dispatch

sys.exit(dispatch(["score", *sys.argv[1:]]))
