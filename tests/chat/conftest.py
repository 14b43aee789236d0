"""The tokenizer of a chat model, and transformers as the oracle."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chats import ADDED, SPECIAL, chat_tokenizer

from puna.tokenizer.added import AddedToken, Beside
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.huggingface import tokenizer_json
from puna.tokenizer.sentencepiece import SentencePieceTokenizer
from puna.tokenizer.sentencepiece_added import extended
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.train import train_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> ByteBPETokenizer:
    """Its files ask for no BOS before a text."""
    return chat_tokenizer(add_bos=False)


@pytest.fixture(scope="session")
def adding() -> ByteBPETokenizer:
    """Its files ask encoders to put BOS before a text."""
    return chat_tokenizer(add_bos=True)


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> SentencePieceTokenizer:
    """A SentencePiece model, with a space before each stretch of text, for texts and not for conversations."""
    text = Path(__file__).with_name("test_template.py").read_text(encoding="utf-8")
    out = tmp_path_factory.mktemp("pieces") / "tokenizer"
    train_tokenizer([text], vocab_size=400, character_coverage=0.9999, config={}, inputs={}, out=out)
    return SentencePieceTokenizer((out / "tokenizer.model").read_bytes())


@pytest.fixture(scope="session")
def pieces(bare: SentencePieceTokenizer) -> SentencePieceTokenizer:
    """The same with the tokens of chat models."""
    added = {400 + at: AddedToken(piece, special=True) for at, piece in enumerate(SPECIAL[2:])}
    added |= {420 + at: AddedToken(piece, special=False) for at, piece in enumerate(ADDED)}
    return extended(bare, Beside(added), ())


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
