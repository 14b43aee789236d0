"""The type of each tensor in a GGUF file: llama.cpp's choice without an importance matrix (src/llama-quant.cpp).

The output layer, and the embedding where it is the output layer, too, gets Q6_K in every form below eight bits. The
K-mixes give more bits to the tensors that suffer most; S (small) and M (medium) choose different ones. A row that is
not a whole number of blocks gets the nearest type of 32-value blocks, or float16 if its length is not a multiple of 32.
"""

from puna.config.recipe import ModelConfig
from puna.formats.gguf.file_types import FILE_TYPES
from puna.formats.gguf.types import DTYPES, TYPES
from puna.formats.table import Weight

_FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


def tensor_type(file_type: str, weight: Weight, config: ModelConfig) -> tuple[str, str]:
    """The type of a parameter in the file, and the type that it would have if its rows were whole blocks."""
    if not weight.is_matrix:
        return "F32", "F32"
    wanted = _wanted(file_type, weight, config)
    columns = weight.shape[1]
    if columns % TYPES[wanted].values == 0:
        return wanted, wanted
    narrower = _FALLBACK.get(wanted, "F16")
    return (narrower if columns % TYPES[narrower].values == 0 else "F16"), wanted


def _wanted(file_type: str, weight: Weight, config: ModelConfig) -> str:
    base = FILE_TYPES[file_type].base
    if base in DTYPES or base == "Q8_0":
        return base
    if weight.name == ("tok_embeddings.weight" if config.tie_embeddings else "output.weight"):
        return "Q6_K" if config.dim % TYPES[base].values == 0 else "Q8_0"
    parts = weight.name.split(".")
    kind = parts[-2]
    if kind not in ("wv", "w2"):
        return base
    layer, layers, first_eighth = int(parts[1]), config.n_layers, config.n_layers // 8
    if file_type in ("Q4_K_M", "Q5_K_M"):
        ends = layer < first_eighth or layer >= 7 * layers // 8
        if ends or (layer - first_eighth) % 3 == 2:
            return "Q6_K"
    if file_type == "Q4_K_S" and layer < (4 if kind == "wv" else first_eighth):
        return "Q5_K"
    # Eight query heads share each value head of the 70B, so one more bit for its small wv costs little.
    shares = layers == 80 and config.n_kv_heads != config.n_heads
    return "Q5_K" if kind == "wv" and shares and base == "Q4_K" else base
