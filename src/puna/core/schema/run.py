"""The fields of a training run's record that are read."""

from typing import Annotated, Literal

from pydantic import Field

from puna.core.schema.lineage import Parent
from puna.core.schema.part import Count, Part


class Shape(Part):
    """The fields of `[model]` that the report shows."""

    n_layers: Count
    dim: Count


class Sampling(Part):
    """The fields of `[samples]` that the report shows."""

    temperature: float
    top_p: float


class Amounts(Part):
    """The fields of `[train]` that the report needs to say how far a run is."""

    tokens: Count
    batch_tokens: Annotated[Count, Field(gt=0)]


class LowRank(Part):
    """The fields of `[finetune.lora]` that the report shows."""

    rank: Count
    alpha: float
    dropout: float = 0.0
    targets: list[str]
    rank_stabilised: bool = False
    dora: bool = False


class Preference(Part):
    """The fields of `[finetune.preference]` that the report shows."""

    loss: str
    beta: float


class TunedRecipe(Part):
    """The fields of `[finetune]` that the report shows."""

    template: str
    learn: str
    epochs: float | None = None
    pack: bool = True
    too_long: str = "cut"
    method: str = "full"
    lora: LowRank | None = None
    base: str = "as-it-is"
    freeze: list[str] = Field(default=[])
    dropout: float = 0.0
    neftune: float = 0.0
    preference: Preference | None = None
    """None where it learns from answers, not from pairs of them."""


class TrainedRecipe(Part):
    """The fields of the recipe that the report uses beyond quoting it."""

    name: str
    description: str = ""
    model: Shape
    train: Amounts
    samples: Sampling
    finetune: TunedRecipe | None = None
    """None of a recipe of pre-training."""


class Utilisation(Part):
    """Model FLOPs utilisation as a fraction, by how attention is counted (see `puna.plan.count`)."""

    full: float
    causal: float
    param: float


class Energy(Part):
    """The estimate of energy and carbon, with its inputs."""

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
    skipped_steps: Count = 0
    """Steps whose batch was left out."""
    shifts: list[list[Count]] = Field(default=[])
    """Rollbacks, as pairs: a step, and how many more batches of the data's order are passed over from there on."""
    train_seconds: float
    """Seconds in optimizer steps, over all sessions."""
    wall_seconds: float
    """Seconds since the start of each session, over all sessions."""
    goodput: float | None = None
    """`train_seconds` over `wall_seconds`."""
    tokens_per_second: float
    """Median of the logged steps' rates, in tokens per second."""
    tokens_per_second_overall: float
    peak_memory_bytes: Count
    """Peak memory in bytes of the process that held most."""
    devices: Count | None = None
    layout: str | None = None
    device: str
    device_flops: float
    """FLOP/s of each device that count as 100 %."""
    device_flops_source: str
    mfu: Utilisation
    energy: Energy
    sessions: Count
    """How often the run was started or resumed."""
    source_tokens: dict[str, Count] = Field(default={})
    epochs: dict[str, float] = Field(default={})
    final: Final
    recipe_sha256: str | None = None
    lineage: list[Parent] = Field(default=[])
    """What the run was extended, branched or continued from, oldest first."""


class Machine(Part):
    """The machine that trained the run."""

    system: str
    release: str
    python: str
    processor: str
    cores: Count | None
    memory_bytes: Count | None


class TrainRecord(Part):
    """The content of a run's `record.json`."""

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
