"""The dtypes that weights have outside quantized files."""

import torch

FLOATS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""By the names that Puna gives them."""
