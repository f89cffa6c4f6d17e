"""Checkpoints of a training as one safetensors file, its header holding everything that is not a tensor as JSON."""

from __future__ import annotations

import enum
import json
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from anomaly.atomic import replacing
from anomaly.errors import ArtifactError
from anomaly.tree import TAG, pack, unpack

_HEADER = "checkpoint"


class SafetensorsCheckpointIO(CheckpointIO):
    """Write weights, optimiser, schedules, loops and callbacks without pickle; refuse what would need it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write the checkpoint whole or not at all.

        Raises
        ------
        ArtifactError
            If it holds a type that is neither a tensor nor a plain value; the message names it and its place.
        """
        tensors: dict[str, torch.Tensor] = {}

        def aside(value: Any, place: str) -> Any:
            if isinstance(value, torch.Tensor):
                # A copy: safetensors refuses tensors that share memory, as tied weights do.
                tensors[place] = value.detach().cpu().clone().contiguous()
                return {TAG: "tensor", "v": place}
            if isinstance(value, OrderedDict):
                return pack(dict(value), aside, place)
            if isinstance(value, enum.Enum) and isinstance(value.value, str):
                return value.value
            raise ArtifactError(f"checkpoint: {place.lstrip('.')} is a {_name(value)}, which cannot be written safely")

        header = json.dumps(pack(dict(checkpoint), aside), ensure_ascii=False)
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata={_HEADER: header})

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Return what `save_checkpoint` was given, its tensors on the CPU or where `map_location` says.

        Raises
        ------
        ArtifactError
            If the file is missing, damaged, or no checkpoint of this kind.
        """
        device = str(map_location) if isinstance(map_location, (str, torch.device)) else "cpu"
        try:
            with safe_open(Path(path), framework="pt", device=device) as file:
                header = json.loads((file.metadata() or {})[_HEADER])
                return dict(unpack(header, lambda note: file.get_tensor(note["v"])))
        except FileNotFoundError as error:
            raise ArtifactError(f"{path}: no such checkpoint") from error
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise ArtifactError(f"{path}: a damaged checkpoint ({error}); delete it to train anew") from error

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint, if it is there."""
        path = Path(path)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
