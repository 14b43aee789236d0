"""The three kinds of files in which EasyLM keeps weights."""

from typing import Literal, TypeAlias

Form: TypeAlias = Literal["params", "train_state", "flax_params"]
"""A stream of weights; the same stream with the paths of a training state; one map, as flax writes it."""

FILES: dict[Form, str] = {
    "params": "streaming_params", "train_state": "streaming_train_state", "flax_params": "flax_params"
}  # fmt: skip
"""What each file is called."""

PREFIXES: dict[Form, str] = {"params": "params", "train_state": "trainstate_params", "flax_params": "flax_params"}
"""What EasyLM's `--load_checkpoint` puts before a file's name."""
