"""The tokenizer of a chat model, and transformers as the oracle."""

from collections.abc import Callable
from typing import Any

import pytest
from chats import chat_tokenizer

from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.huggingface import tokenizer_json
from puna.tokenizer.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> ByteBPETokenizer:
    """Its files ask for no BOS before a text."""
    return chat_tokenizer(add_bos=False)


@pytest.fixture(scope="session")
def adding() -> ByteBPETokenizer:
    """Its files ask encoders to put BOS before a text."""
    return chat_tokenizer(add_bos=True)


@pytest.fixture(scope="session")
def oracle() -> Callable[[Tokenizer, str], Any]:
    """transformers' tokenizer of the same files, with a template."""
    import tokenizers
    import transformers

    def made(tokenizer: Tokenizer, template: str) -> Any:
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizers.Tokenizer.from_str(tokenizer_json(tokenizer).decode()),
            bos_token=tokenizer.piece(tokenizer.bos_id), eos_token=tokenizer.piece(tokenizer.eos_id),
            chat_template=template, clean_up_tokenization_spaces=False,
        )  # fmt: skip

    return made
