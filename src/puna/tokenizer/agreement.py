"""Whether two forms of a tokenizer are the same tokenizer, string by string.

Two differences are by design. Hugging Face's library turns the text of a control token (`</s>`) into the token, and
reads U+2581 as a space, as SentencePiece and llama.cpp do; here both are text. Strings with them are compared in all
other forms.
"""

import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from puna.tokenizer.engine import as_tokenizer_error, engine_of
from puna.tokenizer.sentencepiece import SPACE
from puna.tokenizer.tokenizer import Tokenizer

_RANDOM_STRINGS, _RANDOM_BYTES = 300, 60
_CONTROL, _ADDED = 32, 64
"""How many control and added tokens are tested."""

_TRAPS = [
    "", " ", "  ", "   leading spaces", "trailing spaces   ", "two  spaces  between", " a", "a ", "\n", "\n\n\n",
    " \n ", "\t", "\ttab\t\ttabs", "\r\n", "line one\nline two\n", "\n    indented after a newline", "Hello world",
    "Hello, world!", "the the the", "The THE the",
    "def main(argv=None):\n    if argv is None:\n        argv = sys.argv[1:]\n    return 0\n",
    "class A:\n\tdef f(self):\n\t\tpass\n", "for (int i = 0; i < 10; ++i) {\n  x[i] += 1;\n}",
    "0", "1234567890", "3.14159", "1,000,000", "2023-02-27", "x1y22z333", "1e-5", "0x1F", "½ ¾ ² ³",
    "don't can't we're", "DON'T CAN'T WE'RE I'LL", "e-mail", "snake_case camelCase SCREAMING_CASE kebab-case",
    "https://example.org/a?b=c&d=%20#e",
    "“quotes” ‘single’ «guillemets» — dash – en … ellipsis", "a\u00a0b no-break", "thin\u2009space", "\u3000wide space",
    "zero\u200bwidth", "soft\u00adhyphen", "\ufeffbyte order mark", "control\x01\x02\x1f", "null\x00inside", "bell\a",
    "naïve café résumé", "nai\u0308ve cafe\u0301 combining", "ÀÉÎÕÜ àéîõü ß ẞ ſ", "Ελληνικά", "Русский текст",
    "עברית", "العربية", "हिन्दी", "ไทย", "中文字符", "日本語のテキスト", "かなカナ", "한국어", "𠮷野家", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "🙂", "👩‍👩‍👧‍👦 family", "🏳️‍🌈 flag", "🇨🇭🇵🇪", "e\U000e0067", "emoji🙂in🙂words", "∀x∈ℝ: ⌈x⌉ ≥ x", "→⇒↔", "¡¿",
    "a" * 64, "a" * 500, " " * 64, "ab" * 200, "\n" * 20,
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft", "<0x0A>", "<0xE2><0x96>",
    "[INST] hello [/INST]", "{{ template }}", "\\n \\t \\", "\"'`", "[PAD1]",
]  # fmt: skip

_BY_DESIGN = [
    "<s>", "</s>", "<unk>", "<pad>", "<|endoftext|>", "<|begin_of_text|>", "a <s>b</s>", "<|im_start|>user\n",
    SPACE, f"{SPACE}{SPACE}", f"the{SPACE}the", f" {SPACE} a",
]  # fmt: skip


class Form(NamedTuple):
    """A tokenizer as another implementation reads it."""

    encode: Callable[[str], list[int]]
    """Ids, including the tokens that it puts before and after a text."""
    decode: Callable[[list[int]], str]
    """Text without control tokens."""
    reads_control: bool
    """Whether it has the two differences by design: text of control tokens, and U+2581."""


@cache
def battery() -> tuple[str, ...]:
    """Strings that tokenizers got wrong, and random characters and bytes from a fixed seed."""
    rng = random.Random(20230227)  # noqa: S311
    # Blocks of scripts, spaces, punctuation, symbols and astral planes; no surrogates.
    ranges = [
        (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0x97F), (0x2000, 0x206F),
        (0x2190, 0x22FF), (0x3040, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xAD00), (0x1F300, 0x1F64F), (0x20000, 0x20100),
    ]  # fmt: skip
    strings = list(_TRAPS)
    for _ in range(_RANDOM_STRINGS):
        low, high = rng.choice(ranges)
        letters = [
            chr(rng.randint(low, high)) if rng.random() < 0.8 else rng.choice(" \n\t 0aé")
            for _ in range(rng.randint(1, 40))
        ]
        strings.append("".join(letters))
    for _ in range(_RANDOM_BYTES):
        content = rng.randbytes(rng.randint(1, 40))
        strings += [content.decode("latin-1"), content.decode("utf-8", errors="replace")]
    return tuple(strings)


def battery_for(tokenizer: Tokenizer, *, reads_control: bool) -> list[str]:
    """The strings on which another form must agree: the battery, and the text of the tokenizer's own tokens.

    Args:
        tokenizer: The tokenizer whose tokens are added.
        reads_control: Whether the other form has the differences by design, so that those strings are left out.
    """
    control = [tokenizer.piece(token) for token in range(tokenizer.vocab_size) if tokenizer.is_control(token)]
    beside = ("{}", "a{}b", " {} ", "{}{}")
    lost = [chr(byte) for byte in tokenizer.missing_bytes if byte < 0x80][:_CONTROL]
    strings = [
        *battery(), *_BY_DESIGN, *control[:_CONTROL],
        *(place.replace("{}", letter) for letter in lost for place in (*beside, "!{}!")),
        *(place.replace("{}", piece) for piece in sorted(tokenizer.added)[:_ADDED] for place in beside),
    ]  # fmt: skip
    if not reads_control:
        return strings
    apart = control if tokenizer.kind == "byte-bpe" else [*control, SPACE]
    return [string for string in strings if not any(piece in string for piece in apart)]


def tokenizer_form(other: Tokenizer) -> Form:
    """A tokenizer of ours that was read back from a file of another format."""
    return Form(lambda text: other.encode(text, bos=other.add_bos), other.decode, reads_control=False)


def huggingface_form(content: bytes, origin: str, *, bos_id: int | None = None) -> Form:
    """A tokenizer.json as the `tokenizers` library reads it.

    Args:
        content: The file.
        origin: What to call it in errors.
        bos_id: The token to put before every text if the file does not; tokenizer_config.json may ask for it.

    Raises:
        TokenizerError: The library cannot read it, or it has a part that Puna does not let run.
    """
    engine = engine_of(content, origin)

    def encode(text: str) -> list[int]:
        try:
            ids = engine.encode(text).ids
        except BaseException as error:
            raise as_tokenizer_error(error, origin) from None
        return ids if bos_id is None or ids[:1] == [bos_id] else [bos_id, *ids]

    return Form(encode, lambda ids: engine.decode(ids, skip_special_tokens=True), reads_control=True)


def check_agreement(tokenizer: Tokenizer, forms: Mapping[str, Form]) -> dict[str, Any]:
    """Compare ids, with the beginning-of-sequence token where it belongs, and decoded text of all forms.

    Returns:
        `forms`, their names; `strings`, the smallest number of strings tested for a form; and `disagreements`, one
        entry for each string and form that differs: `form`, `text`, `puna` and `other` (ids), `decoded`.
    """
    strings = {reads: battery_for(tokenizer, reads_control=reads) for reads in (True, False)}
    disagreements = []
    for name, form in forms.items():
        for string in strings[form.reads_control]:
            ours = tokenizer.encode(string, bos=tokenizer.add_bos)
            theirs, decoded = form.encode(string), form.decode(ours)
            if tokenizer.unk_id in ours:  # some write one for each unknown character, some one for a row of them
                ours, theirs = _once(ours, tokenizer.unk_id), _once(theirs, tokenizer.unk_id)
            if ours != theirs or decoded != tokenizer.decode(ours):
                disagreements.append({"form": name, "text": string, "puna": ours, "other": theirs, "decoded": decoded})
    return {"forms": list(forms), "strings": len(strings[True]), "disagreements": disagreements}


def _once(ids: list[int], token: int | None) -> list[int]:
    """The ids with one token in place of several in a row."""
    return [id_ for place, id_ in enumerate(ids) if id_ != token or place == 0 or ids[place - 1] != token]


def first_disagreement(agreement: Mapping[str, Any]) -> str | None:
    """A sentence on the first disagreement that `check_agreement` found; None if all forms agree."""
    if not agreement["disagreements"]:
        return None
    first = agreement["disagreements"][0]
    differ = len({wrong["text"] for wrong in agreement["disagreements"]})
    where = next((i for i, (a, b) in enumerate(zip(first["puna"], first["other"], strict=False)) if a != b), None)
    if first["puna"] == first["other"]:
        what = f"decodes the ids of {first['text']!r:.80} to {first['decoded']!r:.80}"
    elif where is None:
        what = f"writes {first['text']!r:.80} with {len(first['other'])} ids, not {len(first['puna'])}"
    else:
        what = f"writes {first['text']!r:.80} with id {first['other'][where]} at {where}, not {first['puna'][where]}"
    return f"{first['form']} {what} ({differ} of {agreement['strings']} strings differ)"
