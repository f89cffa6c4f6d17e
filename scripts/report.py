import sys

from anomaly.commands.dispatch import dispatch

sys.exit(dispatch(["report", *sys.argv[1:]]))
