"""What is read of the record of a training run."""

from typing import Literal

from puna.core.schema.part import Count, Part


class Shape(Part):
    """What the page says of `[model]`."""

    n_layers: Count
    dim: Count


class Sampling(Part):
    """What the page says of `[samples]`."""

    temperature: float
    top_p: float


class TrainedRecipe(Part):
    """What the page says of the recipe beyond quoting it."""

    name: str
    description: str = ""
    model: Shape
    samples: Sampling


class Utilisation(Part):
    """Model FLOPs utilisation as a fraction, by how attention is counted (see `puna.plan.count`)."""

    full: float
    causal: float
    param: float


class Energy(Part):
    """The estimate of energy and carbon, with what it was made from."""

    watts: float
    watts_source: str
    pue: float
    carbon_intensity: float
    kwh: float
    kgco2eq: float


class Final(Part):
    """The last validation, by source."""

    loss: dict[str, float]
    bits_per_byte: dict[str, float]


class TrainResults(Part):
    """The figures of a finished run."""

    parameters: Count
    tokens: Count
    steps: Count
    train_seconds: float
    wall_seconds: float
    tokens_per_second: float
    tokens_per_second_overall: float
    peak_memory_bytes: Count
    device: str
    device_flops: float
    device_flops_source: str
    mfu: Utilisation
    energy: Energy
    sessions: Count
    final: Final


class Machine(Part):
    """Where the run was made."""

    system: str
    release: str
    python: str
    processor: str
    cores: Count | None
    memory_bytes: Count | None


class TrainRecord(Part):
    """`record.json` of a run."""

    stage: Literal["train"]
    command: str
    started: str
    puna: str
    commit: str | None
    machine: Machine
    packages: dict[str, str]
    config: TrainedRecipe
    inputs: dict[str, str]
    outputs: dict[str, str]
    results: TrainResults
