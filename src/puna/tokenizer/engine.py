"""Hugging Face's library, made from a tokenizer.json that was checked, and kept from ending the process.

The library raises `Exception` itself for what it refuses, and a `PanicException`, which is not an `Exception`, where
one of its own assumptions fails.
"""

import tokenizers

from puna.core.bounded import parse_json
from puna.core.errors import TokenizerError
from puna.tokenizer.json_parts import check_parts


def engine_of(content: bytes, origin: str) -> tokenizers.Tokenizer:
    """The library's tokenizer, without the padding and the truncation that the file may ask for.

    Raises:
        TokenizerError: It has a part that is not on the list of `json_parts`, or the library refuses it.
    """
    try:
        check_parts(parse_json(content, origin, TokenizerError), origin)
        engine = tokenizers.Tokenizer.from_str(content.decode())
    except BaseException as error:
        raise as_tokenizer_error(error, origin) from None
    engine.no_truncation()
    engine.no_padding()
    return engine


def as_tokenizer_error(error: BaseException, origin: str) -> BaseException:
    """What to raise for an error of the library: a `TokenizerError`; the same object where it is not the library's."""
    panic = type(error).__name__ == "PanicException"
    if isinstance(error, TokenizerError) or not (panic or isinstance(error, Exception)):
        return error
    return TokenizerError(f"{origin}: is not a tokenizer.json, or a damaged one: {line_of(error)}")


def line_of(error: BaseException) -> str:
    """The kind of an error and the first line of what it says."""
    return f"{type(error).__name__}: {error}".split("\n")[0][:200]
