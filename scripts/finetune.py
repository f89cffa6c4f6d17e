import sys

from anomaly.commands.dispatch import dispatch

sys.exit(dispatch(["finetune", *sys.argv[1:]]))
