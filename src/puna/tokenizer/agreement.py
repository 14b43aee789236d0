"""Whether two forms of a tokenizer are the same tokenizer, string by string.

Two differences are by design and stay out of the battery. The text of a control token (`</s>`) is a control token for
Hugging Face's added tokens and ordinary text here. U+2581 is a space for Hugging Face, as for SentencePiece, and keeps
its identity here.
"""

import random
from functools import cache
from pathlib import Path
from typing import Any

import tokenizers

from puna.tokenizer.tokenizer import SPACE, Tokenizer

_RANDOM_STRINGS = 300

_TRAPS = [
    "", " ", "  ", "   leading spaces", "trailing spaces   ", "two  spaces  between", " a", "a ", "\n", "\n\n\n",
    " \n ", "\t", "\ttab\t\ttabs", "\r\n", "line one\nline two\n", "\n    indented after a newline", "Hello world",
    "Hello, world!", "the the the", "The THE the",
    "def main(argv=None):\n    if argv is None:\n        argv = sys.argv[1:]\n    return 0\n",
    "class A:\n\tdef f(self):\n\t\tpass\n", "for (int i = 0; i < 10; ++i) {\n  x[i] += 1;\n}",
    "0", "1234567890", "3.14159", "1,000,000", "2023-02-27", "x1y22z333", "1e-5", "0x1F", "½ ¾ ² ³",
    "don't can't we're", "e-mail", "snake_case camelCase SCREAMING_CASE kebab-case", "https://example.org/a?b=c&d=%20#e",
    "“quotes” ‘single’ «guillemets» — dash – en … ellipsis", "a\u00a0b no-break", "thin\u2009space", "\u3000wide space",
    "zero\u200bwidth", "soft\u00adhyphen", "\ufeffbyte order mark", "control\x01\x02\x1f", "null\x00inside", "bell\a",
    "naïve café résumé", "nai\u0308ve cafe\u0301 combining", "ÀÉÎÕÜ àéîõü ß ẞ ſ", "Ελληνικά", "Русский текст",
    "עברית", "العربية", "हिन्दी", "ไทย", "中文字符", "日本語のテキスト", "かなカナ", "한국어", "𠮷野家", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "🙂", "👩‍👩‍👧‍👦 family", "🏳️‍🌈 flag", "🇨🇭🇵🇪", "e\U000e0067", "emoji🙂in🙂words", "∀x∈ℝ: ⌈x⌉ ≥ x", "→⇒↔", "¡¿",
    "a" * 64, "a" * 500, " " * 64, "ab" * 200, "\n" * 20,
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft", "<0x0A>", "<0xE2><0x96>",
    "[INST] hello [/INST]", "<|endoftext|>", "{{ template }}", "\\n \\t \\", "\"'`",
]  # fmt: skip


@cache
def battery() -> tuple[str, ...]:
    """Strings that have caught tokenizers out, and random ones from a fixed seed."""
    rng = random.Random(20230227)  # noqa: S311
    # Blocks of scripts, spaces, punctuation, symbols and astral planes; no surrogates, no U+2581.
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
    assert not any(SPACE in string for string in strings)  # noqa: S101
    return tuple(strings)


def check_agreement(tokenizer: Tokenizer, tokenizer_json: Path) -> dict[str, Any]:
    """Compare ids, with the beginning-of-sequence token, and decoded text of `tokenizer.json` with the tokenizer's.

    Returns:
        `strings`, their number, and `disagreements`, one entry for each string with what differs.
    """
    other = tokenizers.Tokenizer.from_file(str(tokenizer_json))
    disagreements = []
    for string in battery():
        ours, theirs = tokenizer.encode(string, bos=True), other.encode(string).ids
        decoded = other.decode(ours, skip_special_tokens=True)
        if ours != theirs or decoded != string:
            disagreements.append({"text": string, "puna": ours, "huggingface": theirs, "decoded": decoded})
    return {"strings": len(battery()), "disagreements": disagreements}
