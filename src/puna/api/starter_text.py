"""A starter recipe as text: every value with a sentence on where it comes from."""

import os
from typing import TYPE_CHECKING

from puna.config.toml import inline
from puna.core.units import format_bytes, format_count

if TYPE_CHECKING:
    from puna.data.survey.folder import Found, Survey
    from puna.plan.starter import Starter

_MANY = 12
"""Files that a comment or a list on one line names."""
_VALIDATIONS_COST = 50
"""Each of the eight validations reads at most this part of the tokens of the run: they take about a twentieth of it,
since a token that is only read costs a third of one that is learnt from."""
_RARE = 0.005
"""Shares of languages below it are not named."""


def recipe_text(name: str, file: str, path: str, survey: "Survey", start: "Starter", precision: str) -> str:
    """The recipe.

    Args:
        name: Of the data build and the run.
        file: The recipe's file, for the commands that it names.
        path: The folder, as the recipe names it.
        survey: What lies in it.
        start: The shape and length of the run.
        precision: `train.precision`.
    """
    parts = [
        f"# A recipe made by `puna init`. Every value is yours to change; what is not here has a default, which\n"
        f"# `puna train {file} --show` prints. docs/guide/first-model.md walks through it.\n"
        f"name = {inline(name)}",
        *(_source(path, found) for found in survey.sources),
        *_left_out(survey),
        _mixture(survey),
        _model(start),
        _train(start, precision),
        _during(start, survey),
    ]
    return "\n\n".join(parts) + "\n"


def languages(found: "Found") -> str:
    """The languages of a source: `en 96 %, de 3 %`; empty where nothing is known of them."""
    shares = [(name, share) for name, share in found.amount.languages.items() if share >= _RARE]
    return ", ".join(f"{name} {share:.0%}".replace("%", " %") for name, share in shares[:4])


def _source(path: str, found: "Found") -> str:
    amount = found.amount
    about = "" if amount.is_whole else "about "
    lines = [
        f"[data.sources.{found.name}]",
        f"# {len(found.files):,} {'file' if len(found.files) == 1 else 'files'} with {about}"
        f"{amount.documents:,} documents and {about}{format_bytes(amount.text_bytes)} of text"
        + (f"; languages: {languages(found)}" if languages(found) else ""),
        f"path = {inline(path)}" + ("" if os.path.isabs(path) else "  # relative to this file"),
        f"include = {_listed(found.include)}",
    ]
    if found.exclude:
        lines.append(f"exclude = {_listed(found.exclude)}")
    lines.append(f"format = {inline(found.format)}")
    if found.text_field:
        others = f"  # others: {', '.join(found.other_fields[:_MANY])}" if found.other_fields else ""
        lines.append(f"text_field = {inline(found.text_field)}{others}")
    lines += [
        'licence = ""  # what the data card says where documents do not state their own',
        f"heldout_pattern = {inline(found.heldout_pattern)}  # the smallest document, to validate the model with"
        if found.heldout_pattern
        else f"heldout_fraction = {found.heldout_fraction}  # of the documents, to validate the model with",
        "clean = []  # rules such as gopher-quality, language, pii: docs/guide/data.md",
    ]
    return "\n".join(lines)


def _listed(patterns: list[str]) -> str:
    if len(patterns) <= _MANY:
        return inline(patterns)
    return "[\n" + "".join(f"    {inline(pattern)},\n" for pattern in patterns) + "]"


def _left_out(survey: "Survey") -> list[str]:
    rows = [
        f"# - {len(names):,} x {one_line(reason)}: {one_line(', '.join(names[:3]))}{', …' if len(names) > 3 else ''}"
        for reason, names in survey.left_out.items()
    ]
    return ["\n".join(["# No source reads:", *rows])] if rows else []


def one_line(text: str) -> str:
    """A text on one line without control characters, as comments of TOML and terminals need it."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _mixture(survey: "Survey") -> str:
    total = max(1, sum(found.training_bytes for found in survey.sources))
    rows = [f"{found.name} = {max(round(found.training_bytes / total, 4), 0.0001)}" for found in survey.sources]
    return "\n".join(["[mixture]  # shares of the training tokens, in any unit: here those of the text", *rows])


REASONS = {
    "text": "as many as the text is enough for",
    "machine": "as many as this machine trains in about an hour",
    "least": "the smallest shape, for which this is little text",
}
"""Why a model has its size."""


def _model(start: "Starter") -> str:
    model = start.model
    return "\n".join(
        [
            "[model]",
            f"# {format_count(start.parameters)} parameters: {REASONS[start.bound]}. The measures: 20 tokens for each",
            "# parameter (Hoffmann et al. 2022), and at most four epochs (Muennighoff et al. 2023).",
            "# n_kv_heads, head_dim and ffn_dim follow from these.",
            f"dim = {model.dim}",
            f"n_layers = {model.n_layers}",
            f"n_heads = {model.n_heads}",
            f"vocab_size = {model.vocab_size}",
            f"context = {model.context}",
        ]
    )


def _train(start: "Starter", precision: str) -> str:
    per_parameter = start.tokens / start.parameters
    return "\n".join(
        [
            "[train]",
            f"# About {format_count(start.available_tokens)} tokens of text, estimated: {start.epochs:.2g} epochs, "
            f"{per_parameter:.2g} tokens for each parameter.",
            f"tokens = {start.tokens}",
            f"batch_tokens = {start.batch_tokens}  # {start.steps:,} optimizer steps",
            f"micro_batch_tokens = {start.micro_batch_tokens}  # `puna tune` measures which is fastest here",
            f"precision = {inline(precision)}",
            "",
            "[optim]",
            f"lr = {start.lr:g}  # between the demo's 3e-3 for 3.3M parameters and LLaMA 7B's 3e-4",
            f"warmup_steps = {start.warmup_steps}",
        ]
    )


def _during(start: "Starter", survey: "Survey") -> str:
    every = max(1, start.steps // 8)
    prompts = list(dict.fromkeys(text for found in survey.sources for text in found.amount.beginnings[:2]))[:4]
    return "\n".join(
        [
            "[validation]",
            f"every_steps = {every}",
            f"tokens = {max(min(start.tokens // _VALIDATIONS_COST, 1_000_000), start.model.context)}  "
            "# held-out tokens of each source that it reads, at most",
            "",
            "[samples]",
            f"every_steps = {every}",
            f"prompts = {inline(prompts)}",
            "",
            "[checkpoint]",
            f"every_steps = {every}",
        ]
    )
