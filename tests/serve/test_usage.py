"""Numbers of tokens: a prompt counts once, however many texts follow it."""

from puna.infer.requests import Completion, Token
from puna.serve.usage import usage_of


def done(request: int, sample: int, *, read: int, cached: int, written: int) -> Completion:
    return Completion(
        request=request, sample=sample, text="", tokens=(Token(id=5),) * written, prompt=(), finish="length",
        stop=None, prompt_tokens=read, cached_tokens=cached,
    )  # fmt: skip


def test_prompts_count_once_and_texts_each() -> None:
    told = usage_of([
        done(0, 1, read=10, cached=9, written=3), done(0, 0, read=10, cached=4, written=2),
        done(1, 0, read=7, cached=0, written=5),
    ])  # fmt: skip
    assert told == {
        "prompt_tokens": 17, "completion_tokens": 10, "total_tokens": 27,
        "prompt_tokens_details": {"cached_tokens": 4},
    }  # fmt: skip
