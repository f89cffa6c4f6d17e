import sys

from anomaly.commands.dispatch import dispatch

sys.exit(dispatch(["evaluate", *sys.argv[1:]]))
