"""FSDP2: weights, gradients and optimiser state divided among the processes, a block at a time."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from octcube_core.models.blocks import Block
from octcube_core.models.octcube import OCTCubeEncoder


class ShardedStrategy(ModelParallelStrategy):
    """Lightning's strategy for FSDP2, dividing every transformer block of a task by itself.

    Checkpoints are one file with everything, as those of DDP, and the exported model is the same.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False, **options)

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()
        assert self.lightning_module is not None
        # Lightning wants the division in this hook, which tasks need not write each for itself.
        self.lightning_module.configure_model = self._divide  # type: ignore[method-assign]

    def _divide(self) -> None:
        assert self.lightning_module is not None
        divide_blocks(self.lightning_module, self.device_mesh["data_parallel"])


def divide_blocks(task: nn.Module, mesh: DeviceMesh) -> None:
    """Shard each block over the processes of a mesh, then what is left of the task as one part.

    That part is gathered for a whole step. Encoders' last blocks belong to it, as their halves are run by themselves.
    """
    encoders = [part for part in task.modules() if isinstance(part, OCTCubeEncoder)]
    last = {id(encoder.last_block) for encoder in encoders}
    for part in task.modules():
        if isinstance(part, Block) and id(part) not in last:
            fully_shard(part, mesh=mesh)
    fully_shard(task, mesh=mesh)
    for step in ("training_step", "validation_step", "test_step"):
        register_fsdp_forward_method(task, step)


StrategyRegistry.register("fsdp2", ShardedStrategy, description="FSDP2, a block at a time")
