"""Ask a model: one text, many at once, what else was likely, which of two continuations is likelier.

python examples/generate.py [MODEL]      # a run, a model in any format, or OWNER/NAME on Hugging Face's hub
"""

import sys

import puna

if __name__ == "__main__":
    # Without an argument: the model that train_on_my_text.py leaves in this directory.
    model = puna.load(sys.argv[1] if len(sys.argv) > 1 else "runs/my_text", weights="int8")
    print(model, "|", model.runner.title, "| exact:", model.runner.exact)

    # One text, as it is written.
    for piece in model.stream("The", max_tokens=24, seed=1):
        print(piece, end="", flush=True)
    print()

    # Many at once take less time than one after the other, and each is what it would be alone.
    prompts = ["The", "A list", "If", "while True"]
    together = model.generate(prompts, max_tokens=16, temperature=0)
    assert together == [model.generate(prompt, max_tokens=16, temperature=0) for prompt in prompts]

    # Two samples of one prompt, with the three likeliest tokens at each place.
    for completion in model.complete("The", n=2, logprobs=3, max_tokens=4, seed=7):
        first = completion.tokens[0]
        likeliest = {model.tokenizer.piece(token): round(logprob, 2) for token, logprob in first.best}
        print(repr(completion.text), completion.finish, likeliest)

    # How likely is what follows?
    for continuation, score in zip(
        (" statement", " zzzz"), model.score([("The import", " statement"), ("The import", " zzzz")]), strict=True
    ):
        print(f"{continuation!r}: {score.total:.1f} nats in {len(score.logprobs)} tokens")
