"""How other programs draw solved examples, to their seeds: given as `Task.draws`, they make requests equal to theirs.

Both leave the document itself out, compared by content. Where the originals leave it out by its place alone, and
data have a row twice, one that equals the document is drawn again; everything else is theirs to the last draw.
"""

from collections.abc import Iterator, Sequence
from random import Random

from puna.evaluate.example import Row
from puna.evaluate.task import Draws

SEED = 1234
"""The default seed of both programs."""


def harness_draws(*, spare: bool) -> Draws:
    """lm-evaluation-harness 0.4.13 (`api/samplers.py`): one generator over all documents in order.

    Where there are fewer rows than are wanted, all of them.

    Args:
        spare: Whether it draws one more, so that the document can be left out. It does where a task file's
            `fewshot_split` is its `test_split`, also where it has neither (`ConfigurableTask.fewshot_context`).
    """

    def draws(rows: Sequence[Row], documents: Sequence[Row], shots: int) -> Iterator[Sequence[Row]]:
        generator = Random(SEED)  # noqa: S311 - nothing secret
        for document in documents:
            drawn = generator.sample(rows, min(shots + spare, len(rows)))
            drawn = [row for row in drawn if row != document][:shots]
            if len(drawn) < shots:
                others = [row for row in rows if row != document]
                drawn = generator.sample(others, min(shots, len(others)))
            yield drawn

    return draws


def foundry_draws(rows: Sequence[Row], documents: Sequence[Row], shots: int) -> Iterator[Sequence[Row]]:
    """LLM-foundry (`get_fewshot_sample_idxs` in `eval/datasets/utils.py`): from the documents, by one generator.

    Their order is that in which Python walks through a set of their numbers, as it is there.
    """
    generator = Random(SEED)  # noqa: S311 - nothing secret
    shots = min(shots, len(rows) - 1)
    for document in documents:
        drawn = set(generator.sample(range(len(rows)), shots))
        for place in [place for place in drawn if rows[place] == document]:
            drawn.remove(place)
            if all(row == document for number, row in enumerate(rows) if number not in drawn):
                continue
            other = generator.choice(range(len(rows)))
            while other in drawn or rows[other] == document:
                other = generator.choice(range(len(rows)))
            drawn.add(other)
        yield [rows[place] for place in drawn]
