"""The text passes by unchanged, is counted, and what breaks it off is kept."""

from collections.abc import Iterator

import pytest

from puna.core.errors import DataError, TokenizerError
from puna.tokenizer.training_text import TrainingText


def test_text_is_counted_in_bytes() -> None:
    text = TrainingText(["one", "Größe", ""])
    assert list(text) == ["one", "Größe", ""]
    assert text.n_bytes == 3 + 7
    assert text.error is None


@pytest.mark.parametrize("error", [DataError("line 3 is damaged"), KeyboardInterrupt(), OSError(5, "")])
def test_what_breaks_it_off_is_kept(error: BaseException) -> None:
    def texts() -> Iterator[str]:
        yield "one"
        raise error

    text = TrainingText(texts())
    with pytest.raises(type(error)):
        list(text)
    assert text.error is error


def test_lone_surrogate_is_refused() -> None:
    text = TrainingText(["one", "half\ud800"])
    with pytest.raises(TokenizerError, match=r"lone surrogate, U\+D800, at position 4"):
        list(text)
    assert isinstance(text.error, TokenizerError)
