import sys

from anomaly.commands.dispatch import dispatch

sys.exit(dispatch(["leaderboard", *sys.argv[1:]]))
