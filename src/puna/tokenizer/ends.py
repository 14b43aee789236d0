"""Which tokens begin and end a text, and whether encoders add the first, in Hugging Face's files.

tokenizer.json has no field for the names of these tokens; tokenizer_config.json, which may lie beside it, has. Puna
keeps the names in the post-processor's list of special tokens, as `bos` and `eos`, which other readers ignore. Further
tokens that end a text, which generation_config.json may list, follow the first in the entry `eos`.
"""

from dataclasses import dataclass
from typing import Any

from puna.core.errors import TokenizerError

_BOS = ("<|begin_of_text|>", "<s>", "<|startoftext|>", "<bos>")
_EOS = ("<|end_of_text|>", "</s>", "<|endoftext|>", "<eos>")
"""Usual names of the tokens, tried if no file names them."""

_Part = dict[str, Any]


@dataclass(frozen=True)
class Ends:
    """The tokens at the ends of a text, as the vocabulary writes them."""

    bos: str
    eos: str
    add_bos: bool
    """Whether encoders add `bos` before a text."""
    stops: tuple[str, ...] = ()
    """Further tokens at which generating ends; some models have several."""


def read_ends(data: dict[str, Any], config: dict[str, Any] | None, origin: str) -> Ends:
    """The ends from the tokenizer_config.json beside a tokenizer.json, or else from the tokenizer.json itself.

    `load` puts further ends, which the model's own files have, into the config as `stop_tokens`.

    Raises:
        TokenizerError: No file says which token ends a text.
    """
    said = config or {}
    template = _template(data.get("post_processor"))
    names = {name: entry["tokens"][0] for name, entry in template.get("special_tokens", {}).items()}
    before, after = _around_text(template.get("single", []), names)
    special = {token["content"] for token in data.get("added_tokens", []) if token["special"]}

    def known(candidates: tuple[str, ...]) -> str | None:
        return next((name for name in candidates if name in special), None)

    eos = _name(said.get("eos_token")) or names.get("eos") or after or known(_EOS)
    if eos is None:
        raise TokenizerError(
            f"{origin}: does not say which token ends a text",
            hint="put the tokenizer_config.json that belongs to it beside it",
        )
    bos = _name(said.get("bos_token")) or names.get("bos") or before or known(_BOS) or eos
    asked = said.get("add_bos_token")
    ours = template.get("special_tokens", {}).get("eos", {"tokens": []})["tokens"]
    stops = [stop for stop in said.get("stop_tokens", ours) if stop != eos]
    return Ends(bos, eos, asked if isinstance(asked, bool) else before is not None, tuple(dict.fromkeys(stops)))


def template_of(ends: Ends, ids: dict[str, int]) -> dict[str, Any]:
    """A post-processor that adds BOS if `ends` asks for it and names both tokens."""
    first: list[_Part] = [{"SpecialToken": {"id": "bos", "type_id": 0}}] if ends.add_bos else []
    second: list[_Part] = [{"SpecialToken": {"id": "bos", "type_id": 1}}] if ends.add_bos else []
    text: list[_Part] = [{"Sequence": {"id": "A", "type_id": 0}}]
    pair: list[_Part] = [{"Sequence": {"id": "B", "type_id": 1}}]
    return {
        "type": "TemplateProcessing",
        "single": first + text,
        "pair": first + text + second + pair,
        "special_tokens": {
            role: {"id": role, "ids": [ids[token] for token in tokens], "tokens": list(tokens)}
            for role, tokens in (("bos", (ends.bos,)), ("eos", (ends.eos, *ends.stops)))
        },
    }


def _template(processor: dict[str, Any] | None) -> dict[str, Any]:
    """The template among the post-processors; an empty one where there is none."""
    match processor:
        case {"type": "TemplateProcessing"}:
            return processor
        case {"type": "Sequence", "processors": steps}:
            return next((found for step in steps if (found := _template(step))), {})
    return {}


def _around_text(pieces: list[_Part], names: dict[str, str]) -> tuple[str | None, str | None]:
    """The special tokens right before and right after a single text."""
    tokens = [names[piece["SpecialToken"]["id"]] if "SpecialToken" in piece else None for piece in pieces]
    at = tokens.index(None) if None in tokens else len(tokens)
    return (tokens[0] if at > 0 else None), (tokens[at + 1] if at + 1 < len(tokens) else None)


def _name(token: Any) -> str | None:
    """tokenizer_config.json writes a token as a string or as an object."""
    return token.get("content") if isinstance(token, dict) else token
