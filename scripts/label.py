import sys

from anomaly.commands.dispatch import dispatch

sys.exit(dispatch(["label", *sys.argv[1:]]))
