"""How many processes there are, where torchrun or SLURM has started them already."""

from __future__ import annotations

import os

from jsonargparse import Namespace
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment


def take_from_launcher(trainer: Namespace) -> None:
    """Set a recipe's devices and nodes to what the launcher has made of them, which is what counts."""
    if TorchElasticEnvironment.detect():
        per_node = int(os.environ["LOCAL_WORLD_SIZE"])
        trainer.devices, trainer.num_nodes = per_node, int(os.environ["WORLD_SIZE"]) // per_node
    elif SLURMEnvironment.detect():
        nodes = int(os.environ.get("SLURM_NNODES", "1"))
        trainer.devices, trainer.num_nodes = int(os.environ["SLURM_NTASKS"]) // nodes, nodes
