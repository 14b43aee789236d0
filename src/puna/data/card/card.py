"""The data card of a build: `card.json` for programs, `card.md` and `card.html` for people."""

from puna.config.load import save_recipe
from puna.config.paths import beside
from puna.config.recipe import Recipe
from puna.core.files import sha256_file, sha256_json, write_json, write_text
from puna.core.layout import DataDir
from puna.core.records import Record
from puna.shards.card import card_json, repeated, with_mixture
from puna.shards.format import MANIFEST
from puna.shards.split import HELDOUT, TRAIN
from puna.tokenizer.load import load_tokenizer


def finish_build(recipe: Recipe, out: DataDir) -> list[str]:
    """Write the card in its three forms, config.toml and, last of all, the build's record.

    Returns:
        A sentence for each file or share of a source that was lost without anybody choosing it, and for each source
        that the recipe's run would read too often.

    Raises:
        DataError: Documents or shards are missing or damaged, or shards are of another tokenizer.
        TokenizerError: The tokenizer is missing or damaged.
        StorageError: The disk is full or not writable.
    """
    from puna.data.card.facts import make_card
    from puna.data.card.html import html
    from puna.data.card.lost import lost_warnings
    from puna.data.card.markdown import markdown
    from puna.data.documents import documents_record

    documents = documents_record(out)
    tokenizer = None if recipe.finetune else load_tokenizer(out.tokenizer)
    made = with_mixture(make_card(recipe, out, documents, tokenizer), recipe)
    card = card_json(made)
    write_json(out.card, card)
    write_text(out.card.with_suffix(".md"), markdown(card))
    write_text(out.card.with_suffix(".html"), html(card))
    save_recipe(recipe, out.config)
    record = Record("data", config=beside(recipe.data.model_dump(), out.root, "data"))
    record.inputs = documents["inputs"] | {"documents": sha256_json(documents["outputs"])}
    if tokenizer:
        record.inputs["tokenizer"] = tokenizer.sha256
        record.outputs = {
            f"{source}/{split}/{MANIFEST}": sha256_file(out.shards / source / split / MANIFEST)
            for source in recipe.data.sources
            for split in (TRAIN, HELDOUT)
        }
    record.write(out.record)
    return lost_warnings(card) + repeated(made)
