"""Which parts a tokenizer.json may have: checked before the library sees it, because some parts end the process.

The library builds what the file says: a damaged character map makes it panic, a replacement that grows fills the
memory, an expression with nested repetitions never ends on a short text. So kinds come from a list, each with bounds on
what it is given; every other kind is refused by its name. The kinds are those of LLaMA's tokenizers and their kin.
"""

import re
from collections.abc import Mapping
from typing import Any

from puna.core.errors import TokenizerError

_MOST_STEPS = 16
"""Steps of one part; the longest known, DeepSeek's, has six."""
_LONGEST_PATTERN = 1024
"""Characters of an expression; the longest known, GPT-4o's, has 278."""
_LONGEST_TEXT = 64
"""Characters that a step looks for or puts in their place: one, U+2581, in all known files."""
_LARGEST_GROWTH = 64
"""How many times longer all steps together may make a text; they make it no longer in known files."""
_MOST_REPEATS = 3
"""Repetitions in one branch of an expression: time grows with this power of a text's length. Known ones have two."""
_MOST_CHOICES = 8
"""Choices in one branch: its time doubles with each. Known ones have three."""
_LARGEST_BOUND = 16
"""A repetition of at most this number of times counts as bounded."""
_LONGEST_TOKEN = 1024

_KINDS = {
    "normalizer": (
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
        "Lowercase",
        "Prepend",
        "Replace",
        "Strip",
        "StripAccents",
        "Sequence",
    ),
    "pre_tokenizer": ("ByteLevel", "Digits", "Metaspace", "Punctuation", "Split", "Whitespace", "Sequence"),
    "post_processor": ("ByteLevel", "TemplateProcessing", "Sequence"),
    "decoder": ("ByteFallback", "ByteLevel", "Fuse", "Metaspace", "Replace", "Strip", "Sequence"),
}
_INNER = {
    "normalizer": "normalizers", "pre_tokenizer": "pretokenizers", "post_processor": "processors",
    "decoder": "decoders",
}  # fmt: skip

_OTHER_MODELS = {
    "Unigram": "a unigram model, as SentencePiece trains them by default",
    "WordPiece": "a WordPiece model, BERT's kind",
    "WordLevel": "a list of whole words",
}


def check_parts(data: Any, origin: str) -> None:
    """Refuse a tokenizer.json with parts that are not on the list, beyond their bounds, or of no sense.

    Raises:
        TokenizerError: Naming the part.
    """
    try:
        _check(data, origin)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # a part is of another type than it should be
        raise TokenizerError(
            f"{origin}: is not a tokenizer.json, or a damaged one: {type(error).__name__}: {error!s:.200}"
        ) from None


def _check(data: Any, origin: str) -> None:
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
        raise TokenizerError(f"{origin}: is not a tokenizer.json, which has a model")
    kind = data["model"].get("type", "BPE")  # the library's first files did not say it
    if kind != "BPE":
        what = _OTHER_MODELS.get(kind, "one that Puna does not know") if isinstance(kind, str) else "damaged"
        raise TokenizerError(
            f"{origin}: has a model of the kind {kind!r:.40}, {what}; Puna reads BPE",
            hint="name another tokenizer with --tokenizer, or import the weights alone: `puna import --no-tokenizer`",
        )
    if data["model"].get("continuing_subword_prefix"):  # the library ends in a panic where a token is shorter than it
        raise TokenizerError(f"{origin}: has a continuing_subword_prefix, which no BPE of a LLaMA has")
    for part in _KINDS:
        if (step := data.get(part)) is not None:
            steps = _flat(part, step, origin)
            if len(steps) > _MOST_STEPS:
                raise TokenizerError(f"{origin}: has a {part} of {len(steps)} steps, more than {_MOST_STEPS}")
            growth = 1.0
            for each in steps:
                _check_step(part, each, origin)
                growth *= _growth(each)
            if growth > _LARGEST_GROWTH:
                raise TokenizerError(
                    f"{origin}: has a {part} that can make a text {growth:,.0f} times longer, more than "
                    f"{_LARGEST_GROWTH} times"
                )
    _check_added(data.get("added_tokens") or [], origin)


def _flat(part: str, step: Any, origin: str) -> list[dict[str, Any]]:
    """The steps of a part without its sequences; they may lie in one another, as deep as JSON may."""
    kind = step.get("type") if isinstance(step, dict) else None
    if not isinstance(step, dict) or kind not in _KINDS[part]:
        known = ", ".join(_KINDS[part][:-1])
        raise TokenizerError(
            f"{origin}: has a {part} of the kind {kind!r:.40}, Puna knows {known}",
            hint="name another tokenizer with --tokenizer, or import the weights alone: `puna import --no-tokenizer`",
        )
    if kind != "Sequence":
        return [step]
    inner = step.get(_INNER[part])
    if not isinstance(inner, list):
        raise TokenizerError(f"{origin}: has a {part} that is a sequence of nothing")
    return [each for steps in inner for each in _flat(part, steps, origin)]


def _check_step(part: str, step: Mapping[str, Any], origin: str) -> None:
    def refuse(what: str) -> TokenizerError:
        return TokenizerError(f"{origin}: has a {part} {step['type']} {what}")

    if step["type"] in ("Replace", "Split"):
        pattern = step["pattern"]
        expression, text = pattern.get("Regex"), pattern.get("String")
        if not (expression if text is None else text):
            raise refuse("that looks for nothing")
        if len(expression or "") > _LONGEST_PATTERN or len(text or "") > _LONGEST_TEXT:
            raise refuse(f"whose pattern has {len(expression or text):,} characters")
        if expression is not None and (why := slow(expression)) is not None:
            raise refuse(f"whose expression {why}, so it may never end: {expression!r:.80}")
    for name in ("content", "prepend", "replacement"):
        if len(str(step.get(name, ""))) > _LONGEST_TEXT:
            raise refuse(f"whose {name} has more than {_LONGEST_TEXT} characters")
    for name in ("start", "stop"):
        if not 0 <= (step.get(name) or 0) <= _LARGEST_BOUND:
            raise refuse(f"whose {name} is not from 0 to {_LARGEST_BOUND}")
    for name in ("single", "pair"):
        if len(step.get(name) or ()) > _MOST_STEPS:
            raise refuse(f"that puts more than {_MOST_STEPS} parts together")
    entries = step.get("special_tokens") or {}
    if any(len(entry["ids"]) > _MOST_STEPS for entry in entries.values()):
        raise refuse(f"that puts more than {_MOST_STEPS} tokens in one place")


def _growth(step: Mapping[str, Any]) -> float:
    """How many times longer a step can make a text; a match of an expression may be empty."""
    if step["type"] == "Replace":
        content = len(step["content"])
        text = step["pattern"].get("String")
        return 1 + content if text is None else max(1, content / len(text))
    return len(step.get("prepend") or "") + 1 if step["type"] == "Prepend" else 1


def _check_added(tokens: list[dict[str, Any]], origin: str) -> None:
    for token in tokens:
        if len(token["content"]) > _LONGEST_TOKEN:
            raise TokenizerError(f"{origin}: has an added token of {len(token['content'])} characters")


def slow(expression: str) -> str | None:
    """Why an expression may take time that grows beyond the third power of a text's length; None if it cannot.

    A repeated group is safe if its content has one length; repetitions one after the other multiply, and so do choices.
    It reads the syntax of Oniguruma as far as it needs to, and looks into look-around as into other groups.
    """
    if re.search(r"\\[1-9kg]|\(\?[<']?[A-Za-z_&0-9R]+[>')]", expression):
        return "names its groups or refers to them"
    # Characters that stand for themselves or a class become one letter, so that what is left is structure.
    plain = re.sub(r"\\[pP]\{[^}]*\}|\\x\{[^}]*\}|\\.", "a", expression, flags=re.DOTALL)
    plain = re.sub(r"\[(?:\[:[^\]]*:\]|\[[^\]]*\]|[^\[\]])*\]", "a", plain).replace("#", "a")
    plain = re.sub(r"\(\?(?:[a-z-]*:|<?[=!]|>)", "(", plain)
    plain = re.sub(r"([*+?}])[?+]", r"\1", plain)  # lazy and possessive ones
    plain = re.sub(r"\{(\d*)(,?)(\d*)\}", _quantifier, plain).replace("*", "+")
    # Innermost groups first: what is left of each is a letter with its repetitions and choices.
    while (group := re.search(r"\(([^()]*)\)([+#]?)", plain)) is not None:
        inside = group[1]
        if group[2] and re.search(r"[+?|]", inside):
            return "repeats a group that holds a repetition or a choice"
        repeats, choices = _most(inside)
        left = "a+" * repeats + "a?" * (choices + ("|" in inside))
        plain = plain[: group.start()] + "a" + group[2] + left + plain[group.end() :]
        if len(plain) > 8 * _LONGEST_PATTERN:
            return "has too many groups"
    repeats, choices = _most(plain)
    if repeats > _MOST_REPEATS:
        return f"has {repeats} repetitions in a row"
    return f"has {choices} choices in a row" if choices > _MOST_CHOICES else None


def _most(branches: str) -> tuple[int, int]:
    """Repetitions and choices in the branch with the most of them."""
    each = branches.split("|")
    return max(branch.count("+") for branch in each), max(branch.count("?") for branch in each)


def _quantifier(found: re.Match[str]) -> str:
    """`+` of a repetition without end, `#` of one with a number, `?` where the number is a choice."""
    low, comma, high = found.groups()
    if not (low or high):
        return "aa"  # not a quantifier
    largest = max(int(bound[:9]) for bound in (low, high) if bound)
    if (comma and not high) or largest > _LARGEST_BOUND:
        return "+"
    return "#?" if comma else "#"
