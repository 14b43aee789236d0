"""The model's section of a recipe: the shape of the decoder, and what follows from what."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from puna.config.section import ConflictError, Positive, Section


class RopeScaling(Section):
    """Rotary frequencies stretched to a longer context than the model was first trained on."""

    kind: Literal["linear", "llama3"]
    """All frequencies divided by the factor (Chen et al. 2023), or only the slow ones as Llama 3.1 does."""
    factor: float = Field(gt=1)
    """How many times slower a stretched frequency turns."""
    low_freq_factor: float = Field(default=1.0, gt=0)
    """kind = "llama3": wavelengths above original_context / this are stretched (Llama 3.1's params.json: 1)."""
    high_freq_factor: float = Field(default=4.0, gt=0)
    """kind = "llama3": wavelengths below original_context / this stay; between the two it is interpolated (4)."""
    original_context: Positive = 8192
    """kind = "llama3": positions of the first training (Llama 3: 8,192)."""

    @model_validator(mode="after")
    def _ordered(self) -> "RopeScaling":
        if self.high_freq_factor <= self.low_freq_factor:
            sentence = "high_freq_factor must be more than low_freq_factor"
            raise ConflictError([(sentence, ["high_freq_factor", "low_freq_factor"])])
        return self


def paper_ffn_dim(dim: int) -> int:
    """LLaMA's hidden width of the feed-forward network (section 2.2; a multiple of 256 in its released model.py)."""
    return -(-(8 * dim // 3) // 256) * 256


DERIVED = {
    "model.n_kv_heads": "n_heads",
    "model.head_dim": "dim / n_heads",
    "model.ffn_dim": "dim: 2/3 of 4 x dim, up to a multiple of 256",
}
"""Keys for which 0 stands for a value that follows from others, and how."""


class ModelConfig(Section):
    """The shape of the decoder. Defaults are LLaMA 7B's (Touvron et al. 2023, table 2; its released params.json)."""

    dim: Positive = 4096
    """Width of the residual stream (D)."""
    n_layers: Positive = 32
    """Number of blocks (L)."""
    n_heads: Positive = 32
    """Number of query heads (N)."""
    n_kv_heads: int = Field(default=0, ge=0, lt=2**31, validate_default=True)
    """Key and value heads (K); fewer than n_heads is grouped-query attention (Ainslie et al. 2023). 0 is n_heads, as in
    LLaMA."""
    head_dim: int = Field(default=0, ge=0, lt=2**31, validate_default=True)
    """Width of one head (H); 0 is dim / n_heads, as in LLaMA."""
    ffn_dim: int = Field(default=0, ge=0, lt=2**31, validate_default=True)
    """Hidden width of the feed-forward network (F). 0 is LLaMA's: 2/3 of 4 D (section 2.2), rounded up to a multiple of
    256 as in its released code."""
    vocab_size: int = Field(default=32000, gt=259, lt=2**31)
    """Tokens in the vocabulary (V), the same as the tokenizer's: 3 control tokens, 256 bytes and the pieces."""
    context: int = Field(default=2048, gt=1, lt=2**31)
    """Positions that the model is trained on (T)."""
    rotary: Literal["position", "head"] = "position"
    """What the rotary angles count: positions, or heads, an error with which OpenLM's released models were trained
    (`head_rotary`). A query and its keys then turn by the same angle, which has no effect."""
    rope_theta: float = Field(default=10_000.0, gt=0)
    """Base of the rotary frequencies (Su et al. 2021)."""
    norm_eps: float = Field(default=1e-6, gt=0)
    """Added to the mean square inside RMSNorm, to the variance inside LayerNorm; 1e-5 in LLaMA 65B."""
    norm: Literal["rms", "layer", "layer-bias"] = "rms"
    """RMSNorm, or LayerNorm with gains only as in OpenLM's models today, or with biases as in its first ones."""
    qk_norm: bool = False
    """Whether queries and keys are normalised over all heads before they are turned (OpenLM's models)."""
    rope_scaling: RopeScaling | None = None
    """Unset: none, as in LLaMA 1 and 2."""
    tie_embeddings: bool = False
    """Whether the output layer is the embedding's transpose; LLaMA keeps them apart."""
    init: Literal["scaled-normal", "openlm"] = "scaled-normal"
    """The distribution of the initial weights; `puna.model.init` gives both formulas."""
    init_std: float = Field(default=0.02, gt=0)
    """init = "scaled-normal": standard deviation of the initial weights; those that write to the residual stream get
    it divided by sqrt(2 n_layers) (Radford et al. 2019, section 2.3). The LLaMA paper gives no initialisation."""

    @field_validator("n_kv_heads")
    @classmethod
    def _as_many_as_queries(cls, n_kv_heads: int, info: ValidationInfo) -> int:
        """The number that 0 stands for."""
        return n_kv_heads or info.data.get("n_heads", 0)

    @field_validator("head_dim")
    @classmethod
    def _of_equal_heads(cls, head_dim: int, info: ValidationInfo) -> int:
        """The width that 0 stands for; it stays 0 where the heads do not divide the model's."""
        dim, n_heads = info.data.get("dim"), info.data.get("n_heads")
        if head_dim or not dim or not n_heads or dim % n_heads:
            return head_dim
        return dim // n_heads

    @field_validator("ffn_dim")
    @classmethod
    def _of_the_paper(cls, ffn_dim: int, info: ValidationInfo) -> int:
        """The width that 0 stands for."""
        return ffn_dim or paper_ffn_dim(info.data.get("dim", 0))

    @model_validator(mode="after")
    def _divisible(self) -> "ModelConfig":
        conflicts = []
        if not self.head_dim:
            sentence = f"dim = {self.dim} is not a multiple of n_heads = {self.n_heads}"
            conflicts.append((sentence, ["dim", "n_heads"]))
        elif self.head_dim % 2:
            given = "head_dim" in self.model_fields_set
            what, keys = ("head_dim", ["head_dim"]) if given else ("dim / n_heads", ["dim", "n_heads"])
            conflicts.append((f"{what} = {self.head_dim} is odd; rotary embeddings turn pairs", keys))
        if self.n_heads % self.n_kv_heads:
            sentence = f"n_heads = {self.n_heads} is not a multiple of n_kv_heads = {self.n_kv_heads}"
            conflicts.append((sentence, ["n_heads", "n_kv_heads"]))
        if self.rotary == "head" and self.n_kv_heads != self.n_heads:
            sentence = f"rotary = 'head' needs n_kv_heads = n_heads, found {self.n_kv_heads} and {self.n_heads}"
            conflicts.append((sentence, ["rotary", "n_kv_heads", "n_heads"]))
        if conflicts:
            raise ConflictError(conflicts)
        return self
