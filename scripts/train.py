import sys

from anomaly.commands.dispatch import dispatch

sys.exit(dispatch(["train", *sys.argv[1:]]))
