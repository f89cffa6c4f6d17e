import sys

from anomaly.commands.dispatch import dispatch

sys.exit(dispatch(["replay", *sys.argv[1:]]))
