"""The section of a recipe for several devices."""

from pydantic import Field

from puna.config.section import Positive, Section


class ParallelConfig(Section):
    """How the devices share the work; their product is the number of processes."""

    replicate: Positive = 1
    """Groups of devices that each hold the whole sharded model (hybrid sharding, HSDP)."""
    shard: int = Field(default=0, ge=0, lt=2**31)
    """Devices over which weights, gradients and optimizer state are split (FSDP, ZeRO-3); 0 takes all that the other
    three leave, like the -1 in OpenLLaMA's mesh -1,64,1."""
    context: Positive = 1
    """Devices that share each sequence: attention gathers the keys and values of all of them (context parallelism,
    as Llama 3, section 3.3.2)."""
    tensor: Positive = 1
    """Devices that share each matrix product, with the sequence split between them outside of it (Korthikanti et al.
    2022; LLaMA's "model and sequence parallelism", section 2.4)."""
