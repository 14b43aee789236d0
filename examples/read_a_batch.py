"""Read the batch of a training step, and see which documents each sequence of it was made of.

python examples/read_a_batch.py      # reads texts/**/*.txt below the current directory
"""

from pathlib import Path

import puna
from puna.shards.loader import Loader
from puna.shards.shards import TokenShards
from puna.shards.split import TRAIN
from puna.tokenizer.load import load_tokenizer

if __name__ == "__main__":  # the data build starts processes, which import this file too
    recipe = puna.recipe(Path(__file__).with_name("my_text.toml"), {"data.sources.mine.path": "texts"})
    data = puna.build_data(recipe)
    tokenizer = load_tokenizer(data.tokenizer)
    loader = Loader({name: TokenShards.open(data.shards / name / TRAIN) for name in recipe.mixture}, recipe)

    # The order of the data is a function of the step alone: no training is needed to know what step 20 reads.
    step = 20
    rows = recipe.train.batch_tokens // recipe.model.context
    first = (step - 1) * rows
    batch = loader.batch(first, rows)
    inputs, targets = batch[:, :-1], batch[:, 1:]
    print(
        f"step {step}: inputs {inputs.shape}, targets {targets.shape}, {loader.epochs(first)['mine']:.2f} epochs before"
    )

    for sequence in range(first, first + 3):
        for span in loader.trace(sequence):
            place = f"{span.document['id']}, {span.count} tokens from token {span.first}"
            print(f"sequence {sequence}: {span.source}: {place}")
        print(f"  {tokenizer.decode(batch[sequence - first].tolist())[:70]!r}")
    # step 20: inputs (16, 64), targets (16, 64), 0.19 epochs before
    # sequence 304: mine: execmodel.txt, 65 tokens from token 2376
    #   'peration\nin the same block.  If the nearest enclosing scope for a free'
