"""Train a tiny model on a folder of your own .txt files, and let it write.

python examples/train_on_my_text.py      # reads texts/**/*.txt below the current directory; seconds on a CPU
"""

from pathlib import Path

import puna

if __name__ == "__main__":  # the data build starts processes, which import this file too
    # Every key of the recipe can be changed here, such as "train.tokens": "2M". A path within the recipe would be
    # relative to its file, a path here is relative to the current directory.
    recipe = puna.recipe(Path(__file__).with_name("my_text.toml"), {"data.sources.mine.path": "texts"})

    # Before anything runs: does it fit, and how long will it take?
    plan = puna.plan(recipe, device="cpu")
    print(f"{plan.tokens:,} tokens, {plan.memory.peak.bytes / 2**20:.0f} MiB, about {plan.speed.seconds:.0f} s")

    # Each stage leaves its files in data/my_text and runs/my_text. What is finished is skipped when this runs again.
    data = puna.build_data(recipe)
    run = puna.train(recipe, data, resume=True)

    model = puna.load(run)
    print(model)
    print("The" + model.generate("The", max_tokens=40, temperature=0.7, seed=1))
    # 79,872 tokens, 404 MiB, about 2 s
    # <LanguageModel runs/my_text/model: 166k parameters>
    # The C".  ooiiro Pfare in cbuio Pgaror wciss
