"""Guides compiled for a tokenizer, and how far a text has come in one: which tokens may come next.

A text's state is its own. It depends on the guide and the tokens of that text alone, so that neither company nor
guesses, which are tried on a copy, change what may be drawn.

Axes in names:
  V vocabulary
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from puna.infer.guides import Guide, GuideError, llguidance
from puna.tokenizer.bos import begins_text
from puna.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher

_KEPT = 32
"""Compiled guides that are kept: those that a server's users send again and again."""


class GuideState:
    """How far one text has come in its grammar; made by `Guides.begin`."""

    def __init__(self, matcher: "LLMatcher", tokenizer: Tokenizer, vocabulary: int, stops: Collection[int]) -> None:
        self._matcher, self._vocabulary, self._stops = matcher, vocabulary, [*stops]
        self._size, self._eos = tokenizer.vocab_size, tokenizer.eos_id
        self._words = np.zeros(-(-self._size // 32), dtype=np.int32)

    def allowed(self, guessed: Sequence[int] = ()) -> NDArray[np.bool_]:
        """Which tokens may come next, (V,); none behind the end of a text without stop tokens, nor where it is broken.

        Args:
            guessed: Tokens that come first; all of them must be `fitting`.
        """
        if not guessed:
            return self._mask(self._matcher)
        # A copy, so that a guess that was wrong leaves nothing behind: neither an error nor a used-up bound.
        ahead = self._matcher.deep_copy()
        ahead.consume_tokens(list(guessed))
        return self._mask(ahead)

    def fitting(self, guessed: Sequence[int]) -> int:
        """How many of these tokens, from the first on, the grammar takes as text."""
        known = next((place for place, token in enumerate(guessed) if not self._is_text(token)), len(guessed))
        return self._matcher.validate_tokens(list(guessed[:known])) if known and not self.ended else 0

    def accept(self, token: int) -> None:
        """Go on by a token that was written."""
        self._matcher.consume_token(token)

    @property
    def complete(self) -> bool:
        """Whether the text may end here."""
        return _complete(self._matcher)

    @property
    def ended(self) -> bool:
        """Whether the text is complete and nothing can follow."""
        return self._matcher.is_stopped() and self.complete

    def _is_text(self, token: int) -> bool:
        return token < self._size and token != self._eos and token not in self._stops

    def _mask(self, matcher: "LLMatcher") -> NDArray[np.bool_]:
        mask_V = np.zeros(max(self._vocabulary, self._size), dtype=np.bool_)
        if not matcher.is_stopped():
            matcher.unsafe_compute_mask_ptr(self._words.ctypes.data, self._words.nbytes)
            if not matcher.is_error():
                mask_V[: self._size] = np.unpackbits(self._words.view(np.uint8), bitorder="little")[: self._size]
        mask_V[self._eos] = False
        mask_V[self._stops] = _complete(matcher)
        return mask_V[: self._vocabulary]


class Guides:
    """Compiles guides for a tokenizer; what was compiled is kept. Threads may share it.

    Args:
        tokenizer: Whose tokens' bytes the grammars read.
        vocabulary: Scores that the model gives for a token; more than the tokenizer has where embeddings are padded.

    Raises:
        GenerateError: The package llguidance is missing.
    """

    def __init__(self, tokenizer: Tokenizer, vocabulary: int | None = None) -> None:
        library = llguidance()
        self._tokenizer = tokenizer
        self._vocabulary = tokenizer.vocab_size if vocabulary is None else vocabulary
        self._known = library.LLTokenizer(_Vocabulary(tokenizer))
        self._limits = library.LLParserLimits(verbose_errors=False)
        self._compiled: OrderedDict[tuple[Guide, bool], LLMatcher] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, guide: Guide, *, prompt: Sequence[int] = (), stop_ids: Collection[int] = ()) -> GuideState:
        """The beginning of a text.

        Args:
            guide: What it is to be.
            prompt: The ids that it follows.
            stop_ids: Tokens that end it, and are allowed where it may end.

        Raises:
            GuideError: The grammar is not valid, or too complex.
        """
        # Of a text that begins with the tokenizer's own space, which does not belong to it, that space comes first.
        spaced = begins_text(self._tokenizer, prompt)
        matcher = self._matcher(guide, spaced).deep_copy()
        return GuideState(matcher, self._tokenizer, self._vocabulary, stop_ids)

    def _matcher(self, guide: Guide, spaced: bool) -> "LLMatcher":
        with self._lock:
            if (found := self._compiled.get((guide, spaced))) is not None:
                self._compiled.move_to_end((guide, spaced))
                return found
        grammar = guide.grammar(" " if spaced else "")
        matcher = llguidance().LLMatcher(self._known, grammar, log_level=0, limits=self._limits)
        if matcher.is_error():
            raise GuideError(_sentence(matcher.get_error()))
        with self._lock:
            self._compiled[guide, spaced] = matcher
            while len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        return matcher


class _Vocabulary:
    """A tokenizer as llguidance wants one; tokens without text stand behind the byte 0xFF, which no text has."""

    is_tokenizer_wrapper = True

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.bos_token_id, self.eos_token_id = tokenizer.bos_id, tokenizer.eos_id
        self.tokens = [
            content or b"\xff[%d]" % token for token, content in enumerate(tokenizer.token_bytes())
        ]  # fmt: skip
        self.special_token_ids = [token for token, content in enumerate(tokenizer.token_bytes()) if not content]

    def __call__(self, text: str) -> list[int]:
        raise NotImplementedError("grammars without forced tokens encode nothing")


def _complete(matcher: "LLMatcher") -> bool:
    """Whether a text may end here."""
    return not matcher.is_error() and matcher.is_accepting()


def _sentence(error: str) -> str:
    """What llguidance says is wrong, without the grammar that it quotes."""
    text = " ".join(error.split("\n   1 |")[0].split("<non-verbose/>")[0].split())
    return re.sub(r"^at \d+\(\d+\): ", "", text)[:300]
