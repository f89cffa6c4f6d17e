"""Which weights of a network a few labels may move: all, none, the last layers, or low-rank additions to them.

LoRA is the peft library's. Linear layers take its adapters; recurrent cells, which are no linear layers, take them on
their weight matrices one by one (`target_parameters`, a parametrisation of the weight in force while the cell runs).
Embedding tables stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

from torch import nn

from anomaly.errors import AnomalyError, ConfigError

Trains = Literal["full", "head", "top_k", "lora"]
TRAINS: tuple[Trains, ...] = get_args(Trains)


@contextmanager
def adapted(model: nn.Module, encoder: nn.Module, trains: Trains, *, top_k: int = 1, rank: int = 4) -> Iterator[float]:
    """Let a block train part of a model; yields the share of its weights that move.

    Afterwards the model is what it was, every weight trainable, with what was learnt added in.

    Parameters
    ----------
    encoder : the part of the model that turns events into states
    top_k : layers of the encoder, the last ones, that train under "top_k"
    rank : of the additions under "lora"

    Raises
    ------
    ConfigError
        If there is no such way.
    AnomalyError
        If peft is not installed.
    """
    if trains not in TRAINS:
        raise ConfigError(f"trains={trains}: expected one of {', '.join(TRAINS)}")
    total = sum(p.numel() for p in model.parameters())
    model.requires_grad_(trains == "full")
    tuner = _inject(encoder, rank) if trains == "lora" else None
    if trains == "top_k":
        for weight in _last_layers(encoder, top_k):
            weight.requires_grad_(True)
    try:
        yield sum(p.numel() for p in model.parameters() if p.requires_grad) / max(total, 1)
    finally:
        if tuner is not None:
            tuner.merge_and_unload()
        model.requires_grad_(True)


def _inject(encoder: nn.Module, rank: int) -> Any:
    try:
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel
    except ImportError as error:
        raise AnomalyError("trains=lora needs the package peft: pip install 'anomaly[finetune]'") from error
    linear = [name for name, module in encoder.named_modules() if isinstance(module, nn.Linear)]
    cells = {name: module for name, module in encoder.named_modules() if isinstance(module, nn.RNNBase)}
    weights = [f"{name}.{key}" for name, cell in cells.items() for key, p in cell.named_parameters() if p.ndim == 2]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=linear, target_parameters=weights or None)
    tuner = LoraModel(encoder, config, "default")
    for name, cell in cells.items():
        # The wrapper that stands in the cell's place is asked for its depth.
        wrapper: Any = encoder.get_submodule(name)
        wrapper.num_layers = cell.num_layers
    return tuner


def _last_layers(encoder: nn.Module, top_k: int) -> list[nn.Parameter]:
    """Return the weights of the last layers: of blocks in a list, or of the layers inside a recurrent cell."""
    found: list[nn.Parameter] = []
    lists = [module for module in encoder.children() if isinstance(module, nn.ModuleList)]
    found += [p for blocks in lists for block in list(blocks)[-top_k:] for p in block.parameters()]
    for cell in (module for module in encoder.modules() if isinstance(module, nn.RNNBase)):
        last = tuple(f"_l{k}" for k in range(max(cell.num_layers - top_k, 0), cell.num_layers))
        found += [p for name, p in cell.named_parameters() if name.endswith(last)]
    norms = [module for module in encoder.children() if isinstance(module, nn.LayerNorm)]
    return found + [p for norm in norms for p in norm.parameters()]
