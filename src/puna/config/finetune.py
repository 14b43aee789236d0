"""The section of a recipe for `puna finetune`: how examples are written, what learns from them, and by which loss."""

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias, get_args

from pydantic import Field, model_validator

from puna.config.data import EXAMPLES, FORMATS, Source
from puna.config.section import ConflictError, Count, Positive, Section, SourceName
from puna.core.errors import TrainError

TEMPLATES = ("own", "plain", "flan", "chatml", "llama2", "alpaca")
"""The names that `finetune.template` knows; anything else is the path of a Jinja file."""

Linear: TypeAlias = Literal["wq", "wk", "wv", "wo", "w1", "w2", "w3"]
"""The linear layers of a block, as Meta names them."""


class LoraConfig(Section):
    """Low-rank updates of frozen matrices (Hu et al. 2022): W + scale B A."""

    rank: Positive = 16
    """Columns of B and rows of A. Schulman et al. 2025 ("LoRA without regret") find no loss against full tuning where
    the rank's capacity exceeds the data's; QLoRA (Dettmers et al. 2023, appendix B) finds no effect of it from 8 on."""
    alpha: float = Field(default=32.0, gt=0)
    """scale = alpha / rank, or alpha / sqrt(rank) with `rank_stabilised`."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the inputs of A that are dropped while training."""
    targets: list[Linear] = Field(default=[*get_args(Linear)], min_length=1)
    """The linear layers of every block that get an update; all of them, as QLoRA found best (section 4)."""
    rank_stabilised: bool = False
    """Whether the scale is alpha / sqrt(rank) (rsLoRA, Kalajdzievski 2023)."""
    dora: bool = False
    """Whether the norm of every output's weights is learned apart (DoRA, Liu et al. 2024)."""


class PreferenceConfig(Section):
    """Learning from pairs of answers, of which one is preferred (Rafailov et al. 2023)."""

    loss: Literal["dpo", "ipo", "dpo-norm", "apo-zero"] = "dpo"
    """DPO's logistic loss (Rafailov et al. 2023, equation 7); IPO's square (Azar et al. 2024, equation 17) of mean
    log-probabilities per token, as its authors computed it; DPO of mean log-probabilities per token (Tulu 3, Lambert et
    al. 2024, section 5.1.2); APO-zero (D'Oosterlinck et al. 2024, equation 7)."""
    beta: float = Field(default=0.1, gt=0)
    """How strongly the reference model holds back; for IPO its tau (Rafailov et al. 2023, appendix B: 0.1)."""


class FinetuneConfig(Section):
    """How a model that is there learns from examples; with this section a recipe is one of `puna finetune`."""

    template: str = Field(default="own", min_length=1)
    """What writes a conversation as text: the model's `own` chat template; `plain`, `flan`, `chatml`, `llama2`,
    `alpaca`; or the path of a Jinja file. The model that is tuned keeps it."""
    learn: Literal["answers", "last-answer", "everything"] = "answers"
    """Which tokens are targets: all answers of the assistant with the tokens that end them; the last answer alone; or
    every token."""
    epochs: float | None = Field(default=None, gt=0)
    """How often all examples are read; `train.tokens` follows from it. Unset: `train.tokens` decides."""
    warmup_ratio: float | None = Field(default=None, ge=0, lt=1)
    """Share of the steps in which the learning rate rises; `optim.warmup_steps` follows. Unset: that decides."""
    pack: bool = True
    """Whether several examples share a sequence; each then sees itself alone, and its positions begin at 0."""
    too_long: Literal["cut", "drop"] = "cut"
    """What becomes of an example with more tokens than a sequence has: its prompt is cut from the left, or it is
    dropped. Either is counted; an answer that does not fit by itself is always dropped."""
    max_prompt_tokens: Count | None = None
    """Tokens of the prompt at most, cut from the left (the Flan Collection: 2,048). Unset: all."""
    max_answer_tokens: Count | None = None
    """Tokens of the answer at most; a longer one is dropped (the Flan Collection: 512). Unset: no limit."""
    task_cap: dict[SourceName, Count] = Field(default={})
    """Examples of one task of a source at most, the K of examples-proportional mixing (Raffel et al. 2020, section
    3.5.2): a task with more has K of them in an epoch."""
    method: Literal["full", "lora"] = "full"
    """Whether all weights learn, or low-rank updates of them."""
    lora: LoraConfig = LoraConfig()
    """method = "lora": the updates."""
    base: Literal["as-it-is", "int8", "int4"] = "as-it-is"
    """method = "lora": whether the frozen matrices are kept in fewer bits, as the engine has them."""
    freeze: list[str] = Field(default=[])
    """Patterns of parameters that do not learn, such as `tok_embeddings.*` or `layers.[0-3].*`."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the values that are dropped after the embedding and after each half of a block, while training."""
    neftune: float = Field(default=0.0, ge=0)
    """The alpha of noise on the embeddings of a training example (NEFTune, Jain et al. 2024: 5); 0: none."""
    preference: PreferenceConfig | None = None
    """Unset: the cross-entropy of answers. Set: a loss of pairs; every source then has format = "preferences"."""

    @model_validator(mode="after")
    def _consistent(self) -> "FinetuneConfig":
        conflicts = []
        if self.base != "as-it-is" and self.method != "lora":
            conflicts.append((f"base = {self.base!r} is for method = 'lora': quantized weights cannot learn", ["base"]))
        if self.preference is not None and self.learn == "everything":
            conflicts.append(("preferences compare answers, learn = 'everything' has none", ["preference", "learn"]))
        if conflicts:
            raise ConflictError(conflicts)
        return self


def format_conflicts(sources: Mapping[str, Source], finetune: FinetuneConfig | None) -> list[tuple[str, list[str]]]:
    """Sources whose format is not for this kind of recipe, and caps of no source: sentences with their keys.

    Args:
        sources: The sources by name; what the reader of a plug-in reads is not known here.
        finetune: The section [finetune] of the recipe; None is a recipe of pre-training.
    """
    conflicts = []
    pairs = finetune is not None and finetune.preference is not None
    for name, form in ((name, source.format) for name, source in sources.items() if source.format in FORMATS):
        keys, begin = [f"data.sources.{name}.format", "finetune"], f"data.sources.{name}: format = {form!r}"
        if finetune is None and form in EXAMPLES:
            conflicts.append((f"{begin} is for recipes with [finetune], and this one has no such section", keys))
        elif finetune is not None and form not in EXAMPLES:
            known = ", ".join(EXAMPLES)
            conflicts.append((f"{begin} is text, and a recipe with [finetune] learns from examples: {known}", keys))
        elif finetune is not None and pairs != (form == "preferences"):
            keys[1] = "finetune.preference"
            conflicts.append((f"{begin}, but the recipe has {'a' if pairs else 'no'} [finetune.preference]", keys))
    # Without sources the files come with `--data`, and with them a source that a cap may name already.
    if finetune is not None and sources and (unknown := sorted(finetune.task_cap.keys() - sources.keys())):
        sentence = f"finetune.task_cap names {', '.join(unknown)} but data.sources are {', '.join(sources)}"
        conflicts.append((sentence, ["finetune.task_cap", "data.sources"]))
    return conflicts


def frozen_names(names: Collection[str], patterns: Sequence[str]) -> set[str]:
    """The parameters that match a pattern of `finetune.freeze`.

    Args:
        names: Of all parameters.
        patterns: As the shell has them: `*` any text, `?` any character, `[0-3]` one of these.

    Raises:
        TrainError: A pattern matches no parameter, or all parameters match.
    """
    frozen: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if fnmatchcase(name, pattern)}
        if not found:
            raise TrainError(
                f"finetune.freeze: {pattern!r} matches no parameter",
                hint="names are such as tok_embeddings.weight, layers.0.attention.wq.weight, norm.weight",
            )
        frozen |= found
    if len(frozen) == len(names):
        raise TrainError("finetune.freeze: matches all parameters, so nothing would learn")
    return frozen
