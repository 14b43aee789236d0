"""Texts that a model wrote are given to something that judges them: how toxic they are, or how true.

The papers' own judges are services and models that not everybody has, so judging comes after writing and is pluggable.
Texts are kept without scores until there is a scorer. What it could not score is missing and counted, never 0.

A package adds a scorer as an entry point, named as `--scorer` names it:

```toml
[project.entry-points."puna.toxicity"]
mine = "my_package:MINE"        # a ScorerEntry
```
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches

from puna.core.console import progress
from puna.core.errors import EvaluateError
from puna.core.plugins import load_plugins
from puna.evaluate.example import Judged, Write
from puna.evaluate.lines import line_of
from puna.evaluate.perspective import open_perspective
from puna.evaluate.run import Outcome
from puna.evaluate.scorer import KINDS, Kind, Passage, Scorer, ScorerEntry
from puna.evaluate.store import Store

KEEP_SECONDS = 30.0
"""At most this much work of a scorer is lost where a process is killed."""

_OWN: dict[str, dict[str, ScorerEntry]] = {
    "toxicity": {"perspective": ScorerEntry(title="Perspective API", open=open_perspective)},
    "truth": {},
}


def scorers(kind: Kind) -> dict[str, ScorerEntry]:
    """All scorers of a kind by name, Puna's own first.

    Raises:
        UserError: A package's scorer cannot be used.
    """
    return _OWN[kind.name] | load_plugins(kind.group, ScorerEntry)


def find_scorers(names: Iterable[str]) -> dict[str, ScorerEntry]:
    """The scorers of these names, by the kind of what they judge; a name may be one of each kind.

    Raises:
        EvaluateError: There is none of a name, or two are of one kind.
    """
    known = {kind.name: scorers(kind) for kind in KINDS.values()}
    found: dict[str, ScorerEntry] = {}
    for name in names:
        kinds = [kind for kind, entries in known.items() if name in entries]
        if not kinds:
            all_names = [name for entries in known.values() for name in entries]
            close = get_close_matches(name, all_names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(all_names)}"
            raise EvaluateError(f"--scorer: {name!r} is not a scorer", hint=hint)
        for kind in kinds:
            if kind in found:
                raise EvaluateError(f"--scorer: two scorers of {kind}; name one")
            found[kind] = known[kind][name]
    return found


def score(
    judged: Sequence[Judged], kind: Kind, scorer: Scorer, keep: Callable[[Sequence[Judged]], None]
) -> list[Judged]:
    """The documents with a scorer's values; those that it has judged before are not judged again.

    Args:
        judged: All documents of a task whose answers are texts; the first sample of each is judged.
        kind: What is judged.
        scorer: Judges.
        keep: Stores all documents as they are now; called from time to time, and at the end, an error's end too.

    Raises:
        EvaluateError: The scorer cannot go on, or gives something else than values from 0 to 1.
    """
    done = list(judged)
    left = [place for place, one in enumerate(done) if not _is_scored(one, kind, scorer)]
    kept = time.monotonic()
    try:
        with progress(f"scores of {scorer.title}", len(left), "texts") as advance:
            for start in range(0, len(left), scorer.batch):
                places = left[start : start + scorer.batch]
                for place, values in zip(places, _values([done[p] for p in places], kind, scorer), strict=True):
                    one = done[place]
                    done[place] = replace(
                        one, values={**one.values, **values}, shown={**one.shown, "scorer": scorer.title}
                    )
                advance(len(places))
                if time.monotonic() - kept > KEEP_SECONDS:
                    keep(done)
                    kept = time.monotonic()
    finally:
        if left:
            keep(done)
    return done


def score_outcome(outcome: Outcome, kind: str, scorer: Scorer, store: Store) -> Outcome:
    """A task's outcome with a scorer's values.

    Args:
        outcome: Of a task whose answers are texts.
        kind: What is judged, of `puna.evaluate.scorer.KINDS`.
        scorer: Judges.
        store: Keeps the scores with the texts.

    Raises:
        EvaluateError: As `score`.
        StorageError: The disk is full, or the directory is not writable.
    """

    def keep(judged: Sequence[Judged]) -> None:
        store.finish(map(line_of, judged), outcome.cost)

    return replace(outcome, judged=score(outcome.judged, KINDS[kind], scorer, keep))


def scorer_of(judged: Iterable[Judged]) -> str | None:
    """Who judged the documents that have been judged; None where none has."""
    return next((str(one.shown["scorer"]) for one in judged if "scorer" in one.shown), None)


def _is_scored(one: Judged, kind: Kind, scorer: Scorer) -> bool:
    if one.shown.get("scorer") != scorer.title:
        return False
    return all(one.values.get(metric) is not None for metric in kind.metrics)


def _values(judged: Sequence[Judged], kind: Kind, scorer: Scorer) -> list[dict[str, float | None]]:
    passages = [_passage(one) for one in judged]
    scores = scorer.score(passages)
    if len(scores) != len(passages):
        raise EvaluateError(f"{scorer.title}: gave {len(scores)} results for {len(passages)} texts")
    for given in scores:
        for metric in kind.metrics:
            value = given.get(metric)
            if value is not None and not 0 <= value <= 1:
                raise EvaluateError(f"{scorer.title}: {metric} is {value}, but must be from 0 to 1")
    return [kind.values(given) for given in scores]


def _passage(one: Judged) -> Passage:
    ask = one.example.ask
    prompt = ask.prompt if isinstance(ask, Write) else ""
    return Passage(prompt=prompt, text=one.answer.written[0].text, facts=one.example.facts)
