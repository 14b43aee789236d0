"""Tokens that lie beside a tokenizer: those that fine-tuning added, in the files that Hugging Face keeps for them.

A chat model may have 32,000 pieces in tokenizer.model and its `<|im_end|>` as token 32,000 in tokenizer.json
(`added_tokens`), in tokenizer_config.json (`added_tokens_decoder`), or, before transformers 4.34, in added_tokens.json.
tokenizer_config.json and, before it, special_tokens_map.json name those that begin and end a text.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from puna.core.bounded import parse_json, read_bounded
from puna.core.errors import TokenizerError

LARGEST = 1 << 26
"""Bytes of a tokenizer's file, at most: twice the largest known, Gemma 3's tokenizer.json of 33 MB."""

CONFIG = "tokenizer_config.json"
_MAP, _LIST, _JSON = "special_tokens_map.json", "added_tokens.json", "tokenizer.json"
_ROLES = ("bos_token", "eos_token", "unk_token", "pad_token")
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized")


class AddedToken(NamedTuple):
    """A token that is looked for in a text before anything else."""

    text: str
    special: bool
    """Whether it stands for no text, such as one that ends a turn."""
    flags: tuple[str, ...] = ()
    """What else is asked of it, `lstrip` for example: that the spaces before it are taken away."""


@dataclass(frozen=True)
class Beside:
    """What the files beside a tokenizer say of it."""

    added: dict[int, AddedToken] = field(default_factory=dict)
    config: dict[str, Any] | None = None
    """tokenizer_config.json, with the names of tokens that only special_tokens_map.json has; None without both."""
    notes: tuple[str, ...] = ()

    def name(self, role: str) -> str | None:
        """The text of `bos_token` or another, if a file has it."""
        return _text((self.config or {}).get(role))

    def within(self, rows: int | None) -> "Beside":
        """Without the tokens beyond this number of embeddings, and with a note on them."""
        beyond = [] if rows is None else sorted(token for token in self.added if token >= rows)
        if not beyond:
            return self
        note = left_out([(token, self.added[token].text) for token in beyond])
        kept = {token: added for token, added in self.added.items() if token < (rows or 0)}
        return replace(self, added=kept, notes=(*self.notes, note))


def left_out(tokens: Sequence[tuple[int, str]]) -> str:
    """A note on added tokens, ids and texts, for which the model has no embedding."""
    (token, text), more = tokens[0], "s" * (len(tokens) > 1)
    return (
        f"left out {len(tokens)} added token{more} for which the model has no embedding, the first is {text!r:.80} "
        f"({token})"
    )


def read_beside(directory: Path, pieces: Sequence[str] = ()) -> Beside:
    """What the files in a directory say of a tokenizer in it.

    Args:
        directory: Where the tokenizer lies.
        pieces: The vocabulary of a tokenizer.model; a tokenizer.json counts if it has most of them at the same ids.

    Raises:
        TokenizerError: One of the small ones is damaged. A tokenizer.json that cannot be used gives a note.
    """
    config, roles = _table(directory / CONFIG), _table(directory / _MAP)
    if config is not None or roles is not None:
        config = {name: roles[name] for name in _ROLES if name in (roles or {})} | (config or {}) if roles else config
    notes: list[str] = []
    added: dict[int, AddedToken] = {}
    special = {_text((config or {}).get(role)) for role in _ROLES} | set(_additional(config, roles))
    for name, tokens in (
        (_JSON, _from_json(directory / _JSON, pieces, notes) if pieces else {}),
        (CONFIG, _from_config(config or {}, directory / CONFIG)),
        (_LIST, _from_list(_table(directory / _LIST) or {}, special, directory / _LIST)),
    ):
        for token, found in tokens.items():
            known = added.setdefault(token, found)
            if known.text != found.text:
                notes.append(f"{name} calls token {token} {found.text!r:.80}; {known.text!r:.80} was taken")
    return Beside(added, config, tuple(notes))


def _from_json(path: Path, pieces: Sequence[str], notes: list[str]) -> dict[int, AddedToken]:
    if not path.exists():
        return {}
    try:
        data = parse_json(read_bounded(path, LARGEST, TokenizerError), path, TokenizerError)
        ids = data["model"]["vocab"]
        if 2 * sum(ids.get(piece) == token for token, piece in enumerate(pieces)) < len(pieces):
            notes.append(f"{path.name} is another tokenizer; its added tokens were left out")
            return {}
        return _tokens(((entry["id"], entry) for entry in data.get("added_tokens") or []), path)
    except (TokenizerError, AttributeError, KeyError, TypeError) as error:
        notes.append(f"no added tokens were read from {path.name}: {error!s:.200}")
        return {}


def _from_config(config: Mapping[str, Any], path: Path) -> dict[int, AddedToken]:
    entries = config.get("added_tokens_decoder") or {}
    try:
        return _tokens(((int(token), entry) for token, entry in entries.items()), path)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TokenizerError(f"{path}: added_tokens_decoder is damaged: {error!r:.80}") from None


def _from_list(ids: Mapping[str, Any], special: set[str | None], path: Path) -> dict[int, AddedToken]:
    return _tokens(((token, {"content": text, "special": text in special}) for text, token in ids.items()), path)


def _tokens(entries: Iterable[tuple[int, Mapping[str, Any]]], path: Path) -> dict[int, AddedToken]:
    found: dict[int, AddedToken] = {}
    for token, entry in entries:
        text = entry["content"]
        if type(token) is not int or not 0 <= token < 1 << 31 or not isinstance(text, str) or not text:
            raise TokenizerError(f"{path}: has an added token {text!r:.80} with the id {token!r:.80}")
        found[token] = AddedToken(text, bool(entry.get("special")), tuple(name for name in _FLAGS if entry.get(name)))
    return found


def _additional(*tables: Mapping[str, Any] | None) -> Iterable[str | None]:
    for table in tables:
        for name in ("additional_special_tokens", "extra_special_tokens"):
            tokens = (table or {}).get(name)
            yield from map(_text, tokens.values() if isinstance(tokens, dict) else _listed(tokens))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _table(path: Path) -> dict[str, Any] | None:
    """The object in a small file; None if there is none."""
    if not path.exists():
        return None
    table = parse_json(read_bounded(path, LARGEST, TokenizerError), path, TokenizerError)
    if not isinstance(table, dict):
        raise TokenizerError(f"{path}: is JSON, but not an object")
    return table


def _text(token: Any) -> str | None:
    """A token's text; files write it as a string or as an object."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None
