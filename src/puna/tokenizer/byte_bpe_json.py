"""The tokenizer.json of a byte-level BPE, from its vocabulary and merges."""

import json
from collections.abc import Collection, Iterable, Sequence

from puna.tokenizer.byte_level import Split, pre_tokenizer
from puna.tokenizer.ends import Ends, template_of


def write_byte_bpe(
    pieces: Sequence[str],
    merges: Iterable[tuple[str, str]],
    split: Split,
    ends: Ends,
    *,
    special: Collection[int],
    added: Collection[int] = (),
) -> bytes:
    """The content of a tokenizer.json.

    Args:
        pieces: The vocabulary by id; bytes in byte-level BPE's alphabet, special and added tokens as they are.
        merges: Pairs of pieces in the order in which they are put together.
        split: How text is cut before that.
        ends: The tokens at the ends of a text.
        special: Ids that stand for no text.
        added: Ids of ordinary tokens that are found in the text before anything else.
    """
    ids = {piece: token for token, piece in enumerate(pieces)}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": token, "content": pieces[token], "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": token not in added,
            }
            for token in sorted({*special, *added})
        ],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer(split.patterns),
        "post_processor": {"type": "Sequence", "processors": [byte_level, template_of(ends, ids)]},
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": split.ignore_merges,
            "vocab": ids,
            "merges": [list(pair) for pair in merges],
        },
    }  # fmt: skip
    return (json.dumps(content, ensure_ascii=False) + "\n").encode()
