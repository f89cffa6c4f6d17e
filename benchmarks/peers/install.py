"""Make the environment of a peer, so that what it needs is no dependency of the project.

    python benchmarks/peers/install.py                  all of them, below ~/.cache/anomaly/peers
    python benchmarks/peers/install.py xgboost --peers DIR

An environment sees the packages of the one that this runs in, and adds its own; nothing is installed into the latter.
It is there once it has `installed.json`, which is written last. Who comes second waits for the first; what a killed
installation has left is made anew.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

REQUIREMENTS = {
    "coniferest": ["coniferest==0.2.2"],
    "lifestream": ["pytorch-lifestream==0.7.0"],
    "xgboost": ["xgboost-cpu==3.2.0"],
}
"""The build of xgboost without CUDA: a fiftieth of the size."""


def main() -> int:
    """Install what is asked for; a peer that cannot be installed is a row with a reason, so this goes on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="PEER", help=", ".join(REQUIREMENTS))
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "anomaly" / "peers")
    args = parser.parse_args()
    unknown = sorted(set(args.names) - set(REQUIREMENTS))
    if unknown:
        parser.error(f"no peer {unknown[0]}; there are {', '.join(REQUIREMENTS)}")
    return max(install(name, args.peers / name) for name in args.names or REQUIREMENTS)


def install(name: str, folder: Path) -> int:
    """Make one environment, and keep what went wrong beside it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The lock lies beside the folder, which is cleared, and goes with the process that holds it.
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return 0 if (folder / "installed.json").is_file() else _make(name, folder)


def _make(name: str, folder: Path) -> int:
    venv.create(folder, with_pip=True, clear=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "project.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    ran = subprocess.run([*command, *REQUIREMENTS[name]], capture_output=True, text=True, check=False)
    if ran.returncode:
        (folder / "failed.txt").write_text(ran.stderr[-2000:], encoding="utf-8")
        sys.stderr.write(f"{name}: cannot be installed; see {folder / 'failed.txt'}\n")
        return 1
    told = json.dumps({"requirements": REQUIREMENTS[name]}) + "\n"
    (folder / "installed.json").write_text(told, encoding="utf-8")
    sys.stdout.write(f"{name}: {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
