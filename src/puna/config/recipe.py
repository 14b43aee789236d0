"""Every section and field of a recipe, with its unit, its default and where the default comes from.

A recipe is one TOML file for the whole process. Sections are frozen: a changed recipe is a new one.
"""

from os import PathLike, fspath
from typing import Any, Literal, TypeAlias

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from puna.config.data import DataConfig, Share
from puna.config.finetune import FinetuneConfig, format_conflicts
from puna.config.model import ModelConfig
from puna.config.parallel import ParallelConfig
from puna.config.section import ConflictError, Count, Positive, Section, SourceName
from puna.config.typed import Typed

FOR_DATA = "for data"
"""Validation's context with this key leaves out what only a run needs: schedule, batches, layout, stages."""


class Stage(Section):
    """Another mixture from some point of the run on (as at the end of Llama 3's and OLMo 2's training)."""

    from_tokens: Count
    """Tokens of the run after which this mixture begins; a multiple of train.batch_tokens."""
    mixture: dict[SourceName, Share] = Field(min_length=1)
    """Share of the training tokens from each source from here on; a source that is not named is not read."""


class TokenizerConfig(Section):
    """The kind of tokenizer, and how it is trained; or an existing one."""

    taken_from: str | None = Field(default=None, alias="from", min_length=1)
    """An existing tokenizer, which the data build takes instead of training one: its file in any form that Puna reads
    (tokenizer.model, tokenizer.json, a GGUF file), or a model, run or data build that has one. The other keys then mean
    nothing, and `model.vocab_size` is its number of tokens unless the recipe gives a larger one."""
    kind: Literal["sentencepiece", "byte-bpe"] = "sentencepiece"
    """SentencePiece BPE like LLaMA's (section 2.1: digits split, byte fallback), or byte-level BPE like GPT-NeoX's,
    with which OpenLM trained its models (without NFC, so that decoding gives every text back)."""
    character_coverage: float = Field(default=0.99995, gt=0.9, le=1.0)
    """kind = "sentencepiece": share of the text's characters that get a piece; the others are written as bytes.
    LLaMA's own value, as its released tokenizer.model records it."""
    train_bytes: Count = 100_000_000
    """Bytes of text to train on at most, drawn from the sources by their mixture shares. For these 100 MB SentencePiece
    takes 25 s and 0.8 GB; 30 MB give 0.3 to 0.4 % more tokens, so that ten times the text is not worth ten times the
    memory and time (bench/results/train_tokenizer_2026-11-30.json)."""


DEFAULT_LOSS_CHUNK = {"cpu": 1024, "gpu": 8192}
"""`train.loss_chunk_tokens` where it is 0. Larger chunks make larger products and take more memory."""


class TrainConfig(Section):
    """The length of the training, its batches and its arithmetic."""

    tokens: Count = 1_000_000_000_000
    """Tokens to train on in total: 1.0T for LLaMA 7B and 13B, 1.4T for 33B and 65B (table 2)."""
    batch_tokens: Count = 4_194_304
    """Tokens per optimizer step: 4M (table 2), as 2048 sequences of 2048."""
    micro_batch_tokens: Count = 16_384
    """Tokens per forward and backward pass; the gradients of a batch's passes are summed."""
    loss_chunk_tokens: int = Field(default=0, ge=0, lt=2**31)
    """Tokens whose logits exist at one time; those of a whole batch never do. 0: 1,024 on a CPU and 8,192 on a GPU,
    both measured in bench/results."""
    compile: bool = True
    """Whether each block of the model runs through torch.compile."""
    recompute: str = Field(default="none", pattern=r"^(none|full|llama|every-[1-9][0-9]*|budget=(0|1|0?\.[0-9]+))$")
    """What the backward pass computes again instead of keeping it: `none`; `llama` (outputs of linear layers and of
    attention are kept, norms, rotary turns and SwiGLU computed again: LLaMA, section 2.4); `full` (only the input of
    each block is kept: Chen et al. 2016); `every-2` (`full` on every second block); `budget=0.5` (the compiler
    chooses what to keep in that share of the memory of `none`)."""
    init_from: str | None = None
    """A run, a moment of one (RUN@step-400) or a model in any format with the initial weights; without it they are
    drawn from the seed. The schedule and the order of the data begin again. What [model] does not give is the model's;
    with more tokens than it has rows for, the new rows are the mean of its own."""
    init_optimizer: Literal["fresh", "keep"] = "fresh"
    """Whether the optimizer begins again too, or with its state at the checkpoint that init_from names."""
    document_mask: bool = False
    """Whether attention stops at the beginning of a document; in LLaMA, OpenLLaMA and OpenLM it does not."""
    z_loss: float = Field(default=0.0, ge=0)
    """Weight of the squared log-normaliser of the logits in the loss, which keeps them small (PaLM, section 5: 1e-4);
    LLaMA has none."""
    precision: Literal["fp32", "bf16", "bf16-stochastic"] = "bf16"
    """fp32 throughout; `bf16`: weights are cast to bfloat16 for the passes, with fp32 weights, sums of gradients and
    optimizer state; `bf16-stochastic`: weights and moments are bfloat16 too, and updates are rounded at random in
    proportion to the distance (Gupta et al. 2015)."""
    float8: bool = False
    """Whether the blocks' linear layers multiply in float8, with a scale per row, forward and for the input's gradient
    (Micikevicius et al. 2022; the weight's gradient stays in bfloat16). Needs a GPU of compute capability 8.9."""
    log_every: Positive = 10
    """Optimizer steps between two lines of metrics."""


Schedule: TypeAlias = Literal["cosine", "linear", "wsd", "constant"]
"""How the learning rate goes after its warm-up; `puna.train.schedule` computes it."""


class Phase(Section):
    """Another schedule of the learning rate from some point of the run on; `puna train --extend` writes them."""

    from_tokens: Count
    """Tokens of the run after which the phase begins; a multiple of train.batch_tokens."""
    until_tokens: Count | None = None
    """Tokens of the run at which its schedule reaches its end. Unset: where the next phase begins, or the run ends."""
    schedule: Schedule = "cosine"
    """The learning rate after the phase's warm-up, as `optim.schedule`."""
    lr: float = Field(gt=0)
    """Peak learning rate of the phase."""
    warmup_steps: int = Field(default=0, ge=0, lt=2**31)
    """Steps over which the rate goes in a line from that of the step before the phase to its peak."""
    cooldown_ratio: float = Field(default=0.2, gt=0, le=1)
    """schedule = "wsd": share of the phase's steps in which the rate falls, as `optim.cooldown_ratio`."""
    final_lr_ratio: float = Field(default=0.1, gt=0, le=1)
    """The rate at the phase's last step as a share of its peak, as `optim.final_lr_ratio`."""


class OptimConfig(Section):
    """AdamW with warm-up and cosine (LLaMA, section 2.3)."""

    name: Literal["adamw", "muon", "adafactor"] = "adamw"
    """AdamW; Muon for the matrices of the blocks with AdamW for all else (Jordan et al. 2024), scaled so that AdamW's
    rate and decay fit (Liu et al. 2025); or Adafactor as T5X sets it (Shazeer and Stern 2018), whose rate is relative
    to the size of each tensor's weights and whose state is two vectors for each matrix."""
    lr: float = Field(default=3e-4, gt=0)
    """Peak learning rate: 3.0e-4 for 7B and 13B, 1.5e-4 for 33B and 65B (table 2)."""
    schedule: Schedule = "cosine"
    """The learning rate after the warm-up: half a cosine (LLaMA, section 2.3); a straight line; constant
    and then a straight line over the last cooldown_ratio of the run (Hu et al. 2024); constant."""
    cooldown_ratio: float = Field(default=0.2, gt=0, le=1)
    """schedule = "wsd": share of the run's steps in which the rate falls (Haegele et al. 2024: 0.2 is enough)."""
    final_lr_ratio: float = Field(default=0.1, gt=0, le=1)
    """The rate at the last step as a share of the peak: 10 % (LLaMA, section 2.3); with 0 that step would do
    nothing."""
    warmup_steps: int = Field(default=2000, ge=0, lt=2**31)
    """Steps over which the learning rate rises linearly from zero."""
    until_tokens: Count | None = None
    """Tokens of the run at which the schedule reaches its end, and the rate stays. Unset: where the first of `phases`
    begins, or the run ends."""
    phases: list[Phase] = Field(default=[])
    """Other schedules later in the run, in order; without them the one above is that of the whole run."""
    momentum: float = Field(default=0.95, ge=0, lt=1)
    """name = "muon": Nesterov momentum of the matrices (Jordan et al. 2024)."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the first moment."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the second moment."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the second moment (Kingma and Ba 2015; the LLaMA paper gives none)."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled decay of matrices and embeddings; the gains of norms are not decayed."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Largest global norm of the gradient; a larger gradient is scaled down to it."""


class StabilityConfig(Section):
    """How a run treats a step with a loss or gradient that is not finite, or far above those of the steps before."""

    action: Literal["stop", "skip", "rollback"] = "stop"
    """What to do. `stop` ends the run with one sentence, but only if a value is not finite; `skip` leaves the batch
    out; `rollback` also returns to the newest checkpoint (PaLM, section 5.1) and leaves out all batches since then."""
    deviations: float = Field(default=6.0, gt=0)
    """A spike lies more than this number of standard deviations above the mean of the window (OLMo 2, section 3: 6)."""
    window: int = Field(default=128, gt=1, lt=2**16)
    """Steps in the window; before the window is full, nothing counts as a spike (OLMo 2: 128)."""
    most: Positive = 10
    """How many of the last `window` batches may be left out, and how often the run may return to one checkpoint, before
    it stops."""


class ValidationConfig(Section):
    """Loss and bits per byte on the held-out documents, per source."""

    every_steps: Positive = 1000
    """Optimizer steps between two validations; another one at the end reads all held-out text."""
    tokens: Count = 1_000_000
    """Held-out tokens per source at most during training, spread evenly over the documents."""


class EvaluationConfig(Section):
    """Benchmarks on a few documents each while the model is trained, as in LLaMA's figure 2."""

    every_steps: Positive = 1000
    """Optimizer steps between two evaluations; the last one is at the end."""
    tasks: list[str] = Field(default=[])
    """Tasks as `puna evaluate --list` names them, such as "harness/hellaswag" or "llama/mmlu@5"; only those that score
    texts, none that generates them."""
    documents: Positive = 100
    """Documents of each task, the same ones each time; the 95 % interval of an accuracy of 50 % is then 10 points to
    each side."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Chooses the documents, as that of `puna evaluate --limit`."""
    missing: Literal["refuse", "skip"] = "refuse"
    """Where a task's data are not on this machine: whether the run is refused, or goes on without the task."""


class SamplesConfig(Section):
    """Text that the model writes during training."""

    every_steps: Positive = 1000
    """Optimizer steps between two rounds of samples; the last round is at the end."""
    prompts: list[str] = Field(default=[])
    """Prompts; one sample is written for each."""
    max_tokens: Positive = 64
    """Tokens of a sample, at most."""
    temperature: float = Field(default=0.8, ge=0)
    """Temperature of sampling; 0 always takes the most likely token."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Nucleus sampling (Holtzman et al. 2020)."""


class CheckpointConfig(Section):
    """When the training state is saved, and how many states are kept."""

    every_steps: Positive = 1000
    """Optimizer steps between two checkpoints."""
    keep: Positive = 2
    """How many of the newest checkpoints are kept; two, in case one is damaged."""
    keep_every: int = Field(default=0, ge=0, lt=2**31)
    """Checkpoints at multiples of this number of steps are kept for ever; 0: none."""
    asynchronous: bool = True
    """Whether training goes on while a copy of the state is written; the copy takes that much memory of the host."""


class MetricsConfig(Section):
    """Other places for metrics than the run's directory."""

    wandb_project: str = ""
    """Project of Weights & Biases; empty: not used. Needs the package `wandb`."""


class EnergyConfig(Section):
    """The paper's estimate of energy and carbon (LLaMA, section 6): hours x watts x PUE x intensity."""

    device_watts: float | None = Field(default=None, gt=0)
    """Power of the device under load, in watts. Unset: the datasheet's for a known GPU (400 W for the paper's
    A100-80GB), 3.5 W per core for a CPU (Cloud Carbon Footprint's figure for a busy virtual core)."""
    pue: float = Field(default=1.1, ge=1)
    """Power usage effectiveness of the data center (section 6)."""
    carbon_intensity: float = Field(default=0.385, ge=0)
    """kg CO2eq per kWh: the US national average that the paper uses (section 6)."""


class Recipe(Section):
    """Everything that determines a model, from the sources to the last step."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """The name of the data build and of the run."""
    description: str = ""
    """One line for `puna recipes`."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the initial weights, the order of the data and the samples."""
    data: DataConfig = DataConfig()
    """The sources of text, and how they are cleaned."""
    mixture: dict[SourceName, Share] = Field(default={})
    """Share of the training tokens from each source, in any unit; they are scaled to a sum of one."""
    max_epochs: dict[SourceName, Share] = Field(default={})
    """How often the run may read a source at most, with what rollbacks pass over; LLaMA read Wikipedia and books about
    twice, the others once (table 1). A run that would read it more often is refused; a source that is not named has no
    limit."""
    stages: list[Stage] = Field(default=[])
    """Other mixtures later in the run, in order."""
    tokenizer: TokenizerConfig = TokenizerConfig()
    """The tokenizer's training."""
    model: ModelConfig = ModelConfig()
    """The shape of the decoder."""
    train: TrainConfig = TrainConfig()
    """Length, batches and precision."""
    parallel: ParallelConfig = ParallelConfig()
    """The layout over several devices."""
    stability: StabilityConfig = StabilityConfig()
    """What to do about spikes of the loss."""
    optim: OptimConfig = OptimConfig()
    """Optimizer and schedule."""
    validation: ValidationConfig = ValidationConfig()
    """Loss on held-out text."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Benchmarks during training."""
    samples: SamplesConfig = SamplesConfig()
    """Samples of text during training."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Saved training states."""
    metrics: MetricsConfig = MetricsConfig()
    """Other places for metrics."""
    energy: EnergyConfig = EnergyConfig()
    """The carbon estimate."""
    finetune: FinetuneConfig | None = None
    """Set: a recipe of `puna finetune`, whose model is `train.init_from`, whose sources hold examples, and whose
    `mixture` has the shares of the examples. Unset: one of pre-training."""
    chat_recipe: str = ""
    """A recipe of `puna finetune`, by which `puna run` lets the finished model learn to chat, in `chat/` of the run:
    the name of a shipped one, or a path that ends in .toml. Empty: none."""
    _typed: Typed = PrivateAttr(default=Typed())

    @property
    def typed(self) -> str:
        """The recipe and its overrides as words of a command line: as the user named them, else its name."""
        return str(self._typed) or self.name

    def named(self, typed: Typed) -> "Recipe":
        """This recipe, named so."""
        self._typed = typed
        return self

    def typed_with(self, option: str, value: "str | PathLike[str] | None") -> "Recipe":
        """A copy that is typed with an option, where it has a value."""
        words = self._typed.words or (self.name,)
        more = () if value is None else (option, fspath(value))
        return self.model_copy().named(Typed((*words, *more)))

    def typed_option(self, option: str) -> tuple[str, ...]:
        """The option and its value, where the recipe is typed with it."""
        words = self._typed.words
        return words[words.index(option) :][:2] if option in words else ()

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> "Recipe":
        conflicts = []
        if set(self.mixture) != set(self.data.sources):
            sentence = (
                f"mixture names {_names(self.mixture)} but data.sources are {_names(self.data.sources)}; "
                "each source needs its share"
            )
            conflicts.append((sentence, ["mixture", "data.sources"]))
        conflicts += format_conflicts(self.data.sources, self.finetune)
        if not (info.context or {}).get(FOR_DATA):
            conflicts += self._known_conflicts()
        if conflicts:
            raise ConflictError(conflicts)
        return self

    def _known_conflicts(self) -> list[tuple[str, list[str]]]:
        """Those of `run_conflicts` that are certain before model and examples of a tuning recipe are there."""
        if self.finetune is None:
            return self.run_conflicts()
        if "context" not in self.model.model_fields_set:
            return []
        if self.finetune.epochs is None and self.finetune.warmup_ratio is None:
            return self.run_conflicts()
        derived = {"train.tokens", "optim.warmup_steps"}
        return [(sentence, keys) for sentence, keys in self.run_conflicts() if derived.isdisjoint(keys)]

    def run_conflicts(self) -> list[tuple[str, list[str]]]:
        """Why no run of this recipe can start: a sentence and its keys for each reason. A data build needs none of it.

        A recipe that was loaded for a run has none.
        """
        conflicts = []
        train, context = self.train, self.model.context
        micro, batch, warmup = train.micro_batch_tokens, train.batch_tokens, self.optim.warmup_steps
        if micro % context:
            sentence = f"train.micro_batch_tokens = {micro} is not a multiple of model.context = {context}"
            conflicts.append((sentence, ["train.micro_batch_tokens", "model.context"]))
        if batch % micro:
            sentence = f"train.batch_tokens = {batch} is not a multiple of train.micro_batch_tokens = {micro}"
            conflicts.append((sentence, ["train.batch_tokens", "train.micro_batch_tokens"]))
        if self.total_steps <= warmup:
            sentence = (
                f"train.tokens = {train.tokens} makes {self.total_steps} steps of train.batch_tokens = {batch}, "
                f"not more than optim.warmup_steps = {warmup}"
            )
            conflicts.append((sentence, ["train.tokens", "train.batch_tokens", "optim.warmup_steps"]))
        return conflicts + self._layout_conflicts() + self._stage_conflicts() + self._phase_conflicts()

    def _layout_conflicts(self) -> list[tuple[str, list[str]]]:
        """Sizes that cannot be divided as the layout over devices asks."""
        tensor, parts, context = self.parallel.tensor, 2 * self.parallel.context, self.model.context
        conflicts = []
        for field in ("n_heads", "n_kv_heads", "ffn_dim", "vocab_size", "context"):
            if (value := getattr(self.model, field)) % tensor:
                sentence = f"model.{field} = {value} is not a multiple of parallel.tensor = {tensor}"
                conflicts.append((sentence, [f"model.{field}", "parallel.tensor"]))
        if self.parallel.context > 1 and context % (parts * tensor):
            needed = f"2 x parallel.context x parallel.tensor = {parts * tensor}"
            sentence = f"model.context = {context} is not a multiple of {needed}"
            conflicts.append((sentence, ["model.context", "parallel.context", "parallel.tensor"]))
        if tensor > 1 and self.model.qk_norm:
            sentence = f"model.qk_norm normalises over all heads, which parallel.tensor = {tensor} would split"
            conflicts.append((sentence, ["model.qk_norm", "parallel.tensor"]))
        if self.optim.name != "adamw" and self.train.precision == "bf16-stochastic":
            sentence = f"optim.name = {self.optim.name!r} needs float32 weights, bf16-stochastic has none"
            conflicts.append((sentence, ["optim.name", "train.precision"]))
        if self.train.float8 and tensor > 1:
            sentence = f"train.float8 = true scales whole rows, which parallel.tensor = {tensor} would split"
            conflicts.append((sentence, ["train.float8", "parallel.tensor"]))
        if self.train.float8 and self.train.precision == "fp32":
            sentence = "train.float8 = true is for passes in bfloat16, train.precision = 'fp32' has none"
            conflicts.append((sentence, ["train.float8", "train.precision"]))
        if self.train.recompute.startswith("budget") and not self.train.compile:
            sentence = f"train.recompute = {self.train.recompute!r} is the compiler's choice and needs train.compile"
            conflicts.append((sentence, ["train.recompute", "train.compile"]))
        return conflicts

    def _stage_conflicts(self) -> list[tuple[str, list[str]]]:
        """Stages that are out of order or not at a whole batch, and unknown sources."""
        conflicts, before = [], 0
        for number, stage in enumerate(self.stages):
            start, batch = stage.from_tokens, self.train.batch_tokens
            if start % batch or not before < start < self.total_tokens:
                sentence = (
                    f"stages[{number}].from_tokens = {start} must be a multiple of train.batch_tokens = {batch}, more "
                    f"than {before} and less than the {self.total_tokens} tokens of the run's whole batches"
                )
                conflicts.append((sentence, ["stages", "train.batch_tokens", "train.tokens"]))
            if unknown := stage.mixture.keys() - self.mixture.keys():
                sentence = f"stages[{number}].mixture names {_names(dict.fromkeys(sorted(unknown)))}"
                conflicts.append((f"{sentence} but mixture has {_names(self.mixture)}", ["stages", "mixture"]))
            before = start
        if unknown := self.max_epochs.keys() - self.mixture.keys():
            sentence = f"max_epochs names {_names(dict.fromkeys(sorted(unknown)))} but mixture has"
            conflicts.append((f"{sentence} {_names(self.mixture)}", ["max_epochs", "mixture"]))
        return conflicts

    def _phase_conflicts(self) -> list[tuple[str, list[str]]]:
        """Phases of the schedule that are out of order, not at a whole batch, or too short for their warm-up."""
        conflicts, before, batch = [], 0, self.train.batch_tokens
        keys = ["optim.phases", "train.batch_tokens", "train.tokens"]
        ends = [phase.from_tokens for phase in self.optim.phases[1:]] + [self.total_tokens]
        for number, (phase, end) in enumerate(zip(self.optim.phases, ends, strict=False)):
            start = phase.from_tokens
            if start % batch or not before < start < self.total_tokens:
                sentence = (
                    f"optim.phases[{number}].from_tokens = {start} must be a multiple of train.batch_tokens = {batch}, "
                    f"more than {before} and less than the {self.total_tokens} tokens of the run's whole batches"
                )
                conflicts.append((sentence, keys))
            elif ((phase.until_tokens or end) - start) // batch <= phase.warmup_steps:
                steps = ((phase.until_tokens or end) - start) // batch
                sentence = (
                    f"optim.phases[{number}] has {steps} steps, not more than its {phase.warmup_steps} of warm-up"
                )
                conflicts.append((sentence, keys))
            before = start
        return conflicts

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the run."""
        return self.train.tokens // self.train.batch_tokens

    @property
    def total_tokens(self) -> int:
        """Tokens that the run learns from: those of `train.tokens` that make whole batches."""
        return self.total_steps * self.train.batch_tokens


def _names(table: dict[str, Any]) -> str:
    return ", ".join(table) if table else "none"
