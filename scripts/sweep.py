import sys

from anomaly.commands.dispatch import dispatch

sys.exit(dispatch(["sweep", *sys.argv[1:]]))
