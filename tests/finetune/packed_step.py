"""One process of a group that computes loss and gradients of a packed batch in several layouts.

    python packed_step.py CASES.json EXAMPLES TUNING OUT

Run by test_layouts.py with torchrun's environment; rank 0 writes OUT/<case>.safetensors.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from puna.config.recipe import ParallelConfig
from puna.finetune.feed import ExampleFeed
from puna.finetune.plan import Plan
from puna.finetune.token_files import Examples
from puna.parallel.world import end_process, joined


def main() -> None:
    """Walk through the cases."""
    cases, examples, fixtures, out = json.loads(Path(sys.argv[1]).read_text()), *map(Path, sys.argv[2:])
    sys.path.insert(0, str(fixtures))
    from chats import chat_tokenizer
    from tuning import recipe_of
    from tuning_steps import gradients

    torch.set_num_threads(1)
    with joined() as world:
        for name, case in cases.items():
            recipe = recipe_of({"talks": 70.0, "tasks": 50.0})
            train = recipe.train.model_copy(update={"micro_batch_tokens": case["rows"] * recipe.model.context})
            recipe = recipe.model_copy(update={"train": train, "parallel": ParallelConfig(**case["parallel"])})
            plan = Plan(Examples.open(examples, "train", list(recipe.mixture)), recipe)
            result = gradients(recipe, world, ExampleFeed(plan, recipe, chat_tokenizer(add_bos=True)))
            if world.main:
                save_file(result, out / f"{name}.safetensors")


if __name__ == "__main__":
    main()
    end_process(0)
