"""Spread a sweep by Hydra's launchers; each of the jobs runs its share of the cells and writes into the same folder.

python scripts/spread.py -m hydra/launcher=joblib shard=0/2,1/2 sweep=tabular out=$PWD/results workers=1

Other launchers (hydra-ray-launcher, hydra-submitit-launcher) are installed and named the same way; `out` must lie where
all their machines see it. Without Hydra the same is done by n commands with shard=0/n to shard=(n-1)/n.
"""

import sys

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from anomaly.commands.compose import compose, conf_folder
from anomaly.commands.sweep import command


@hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="sweep")
def main(config: DictConfig) -> None:
    """Run one job: what was given on the command line is judged as `anomaly sweep` does."""
    given = [o for o in HydraConfig.get().overrides.task if not o.startswith("out=")]
    GlobalHydra.instance().clear()
    # Hydra has taken the quotes off its value, which `compose` would take literally.
    command(compose("sweep", given, {"out": config.out}))


if __name__ == "__main__":
    sys.argv += ["hydra.sweep.dir=outputs/spread", "hydra.run.dir=outputs/spread"]
    main()
