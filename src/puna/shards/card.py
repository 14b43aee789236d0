"""The data card as training reads it: `card.json` of a build, with the shares of a recipe's own run.

A build serves any mixture, so the part of the card about a run is made again for each recipe.
"""

import json
from typing import Any

from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.core.schema.card import SCHEMA, Built, CardFacts, DataCard, RunCard, SourceCard, SourceFacts
from puna.core.schema.part import parse
from puna.core.units import format_count
from puna.plan.starter import EPOCHS
from puna.shards.format import rebuild
from puna.shards.mixture import Mixture
from puna.shards.split import TRAIN


def read_card(out: DataDir) -> DataCard:
    """The card of a finished build.

    Raises:
        DataError: It is missing or damaged.
    """
    try:
        card = json.loads(out.card.read_text(encoding="utf-8"))
        if card["schema"] != SCHEMA:
            raise DataError(
                f"{out.card}: card format {card['schema']}, this version of Puna reads {SCHEMA}", hint=rebuild(out.card)
            )
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{out.card}: is missing or damaged", hint=rebuild(out.card)) from None
    return parse(DataCard, card, str(out.card))


def card_json(card: DataCard) -> dict[str, Any]:
    """The card as it is written."""
    return card.model_dump(mode="json", by_alias=True)


def with_mixture(facts: CardFacts, recipe: Recipe) -> DataCard:
    """The card with the shares of a recipe, and how often its run will read each source: as planned, and as built.

    Planned figures follow from the shares and the run's tokens. Built figures are those of the order of the data, in
    whole sequences: a source has as many as fit into its tokens.
    """
    if recipe.finetune:
        return _with_shares(facts, recipe)
    planned = planned_tokens(recipe)
    sequences, refused = _sequences(recipe)
    total = sum(sequences.values())
    sources = []
    for source in facts.sources:
        name, tokens = source.name, _tokens(source)
        built = None
        if (in_epoch := (tokens - 1) // recipe.model.context) and total:
            built = Built(
                share=sequences[name] / total,
                tokens=sequences[name] * recipe.model.context,
                epochs=sequences[name] / in_epoch,
            )
        sources.append(
            SourceCard(
                **_facts(source),
                share=planned[name] / sum(planned.values()),
                run_tokens=planned[name],
                epochs=planned[name] / tokens,
                max_epochs=recipe.max_epochs.get(name),
                built=built,
            )
        )
    return _card(facts, recipe, sources, RunCard(tokens=recipe.total_tokens, stages=_stages(recipe), refused=refused))


def _with_shares(facts: CardFacts, recipe: Recipe) -> DataCard:
    """The card of examples with the shares of a recipe; how often each is read is known when they are tokens."""
    whole = sum(recipe.mixture.values())
    sources = [
        SourceCard(
            **_facts(source), share=recipe.mixture[source.name] / whole, run_tokens=None, epochs=None,
            max_epochs=recipe.max_epochs.get(source.name), built=None,
        )
        for source in facts.sources
    ]  # fmt: skip
    return _card(facts, recipe, sources, RunCard(tokens=None, stages=_stages(recipe), refused=""))


def _card(facts: CardFacts, recipe: Recipe, sources: list[SourceCard], run: RunCard) -> DataCard:
    known = {field: getattr(facts, field) for field in CardFacts.model_fields if field not in ("version", "sources")}
    own: dict[str, Any] = {"schema": SCHEMA, "sources": sources, "run": run}
    return DataCard(**known | own, name=recipe.name, description=recipe.description)


def _facts(source: SourceFacts) -> dict[str, Any]:
    return {field: getattr(source, field) for field in SourceFacts.model_fields}


def _stages(recipe: Recipe) -> int:
    return len(recipe.stages) + 1


def _tokens(source: SourceFacts) -> int:
    """Tokens to train on of a source.

    Raises:
        DataError: It holds examples.
    """
    if (tokens := source.splits[TRAIN].tokens) is None:
        raise DataError(
            f"source {source.name!r} of the data build holds examples for instruction tuning and no token shards",
            hint="`puna finetune` learns from them; `puna train` needs sources of text",
        )
    return tokens


def planned_tokens(recipe: Recipe) -> dict[str, float]:
    """Tokens of each source in the whole run, by the shares of its stages; their sum is the run's tokens."""
    stages = [(0, recipe.mixture), *((stage.from_tokens, stage.mixture) for stage in recipe.stages)]
    # Data are built with fewer tokens than a batch, too: no run has what is planned then, only its shares.
    ends = [first for first, _ in stages[1:]] + [recipe.total_tokens or recipe.train.tokens]
    planned = dict.fromkeys(recipe.mixture, 0.0)
    for (first, mixture), end in zip(stages, ends, strict=True):
        for name, share in mixture.items():
            planned[name] += share / sum(mixture.values()) * (end - first)
    return planned


def repeated(card: DataCard) -> list[str]:
    """A sentence for each source that a run reads more often than is worth it, if the recipe does not ask for that."""
    return [
        f"{source.name}: the run reads it {source.epochs:.1f} times, {format_count(source.run_tokens)} tokens of "
        f"{format_count(_tokens(source))} that are there; beyond about {EPOCHS:g} times a text teaches "
        "less and less (Muennighoff et al. 2023): fewer train.tokens, a smaller share or more text; "
        f"max_epochs.{source.name} says that it is meant"
        for source in card.sources
        if source.max_epochs is None and source.epochs and source.run_tokens and source.epochs > EPOCHS
    ]


def _sequences(recipe: Recipe) -> tuple[dict[str, int], str]:
    """Sequences of each source in the run's order; or none, and the reason why the order is refused."""
    if conflicts := recipe.run_conflicts():
        return dict.fromkeys(recipe.mixture, 0), conflicts[0][0]
    context = recipe.model.context
    later = [(stage.from_tokens // context, stage.mixture) for stage in recipe.stages]
    try:
        mixture = Mixture(recipe.mixture, recipe.seed, later)
    except DataError as error:
        return dict.fromkeys(recipe.mixture, 0), error.message
    counts = mixture.counts(recipe.total_tokens // context)
    return dict(zip(recipe.mixture, counts.tolist(), strict=True)), ""
