"""Warnings for the reader of a card, and what the build does not know about its text."""

from collections.abc import Iterable
from typing import Any

from puna.data.card.learned import learned_warnings
from puna.data.card.lost import lost_warnings
from puna.data.card.near import near_warnings
from puna.data.document import CONTAINED, NEAR, READER_FAILED, RULE_FAILED

MANY_EPOCHS = 4
"""Repeating data up to four times costs next to nothing; more is worth less (Muennighoff et al. 2023, figure 1)."""


def warnings(card: dict[str, Any]) -> list[str]:
    """Sentences about problems or unusual figures of the build, or of the run that it is for."""
    found = []
    if refused := card["run"]["refused"]:
        found.append(f"No run with this mixture can start: {refused}.")
    for source in card["sources"]:
        epochs = _epochs(source)
        most = source["max_epochs"]
        if epochs is None:
            pass  # the run of examples counts them
        elif most is not None and epochs > most:
            found.append(
                f"{source['name']} would be read {epochs:,.2f} times, but the recipe allows {most:,g}: no run can "
                "start."
            )
        elif epochs > MANY_EPOCHS:
            found.append(
                f"{source['name']} is repeated {epochs:,.1f} times; beyond {MANY_EPOCHS} times, repeated text is worth "
                "clearly less than new text (Muennighoff et al. 2023)."
            )
        if unlicensed := _without_licence(source):
            found.append(f"{source['name']} has {_count(unlicensed, 'document')} whose licence nobody has stated.")
        for reason, what in ((READER_FAILED, "the reader"), (RULE_FAILED, "a rule")):
            if failed := source["dropped"].get(reason):
                lost = _count(failed, "record")
                found.append(f"{source['name']} lost {lost} to a defect of {what} (`{reason}`): see what is dropped.")
    return found + lost_warnings(card) + learned_warnings(card) + near_warnings(card) + _contamination(card)


def unknowns(card: dict[str, Any]) -> list[str]:
    """Sentences about facts that the build has not looked for or cannot know."""
    sources = card["sources"]
    return [
        _personal_data(card),
        "Consent and copyright: a licence is what the recipe or the document itself states. Nobody has checked it, and "
        "the build does not know whether the authors agreed to this use.",
        _harm(card),
        _near_duplicates(card),
        "Evaluation sets: only equal words in a row are found. A translation or a paraphrase of a test is not.",
        _without("Language", sources, "languages", "no rule or file has told it"),
        _without("Time of writing", sources, "years", "the files do not tell it"),
        "Truth: no step knows whether what a document says is right, or whom it leaves out.",
    ]


def _epochs(source: dict[str, Any]) -> float | None:
    return source["built"]["epochs"] if source["built"] else source["epochs"]


def _without_licence(source: dict[str, Any]) -> int:
    return 0 if source["licence"] else source["licences"]["unknown"]["documents"]


def _contamination(card: dict[str, Any]) -> list[str]:
    sources = card["sources"]
    unseen = [source["name"] for source in sources if source["evaluation_sets"] is None]
    if len(unseen) == len(sources):
        return ["No source was compared with evaluation sets: results on public benchmarks may be too good."]
    found = []
    if unseen:
        found.append(f"{_names(unseen)} {_were(unseen)} not compared with evaluation sets.")
    sets = {name: counts for source in sources for name, counts in (source["evaluation_sets"] or {}).items()}
    for name, counts in sets.items():
        if 2 * (compared := counts["compared"] + counts["whole"]) < counts["of"]:
            found.append(
                f"Of the evaluation set {name}, only {compared:,} of {counts['of']:,} rows are long enough to be "
                "compared: that nothing was found says little (`data.rules.decontaminate.short_words` compares shorter "
                "ones)."
            )
    overlaps = sum(counts["documents"] for source in sources for counts in (source["evaluation_sets"] or {}).values())
    if overlaps and _threshold(card, "decontaminate", "action") == "report":
        found.append(
            "Documents that overlap with evaluation sets were only reported and are in the data: see Evaluation sets."
        )
    return found


def _personal_data(card: dict[str, Any]) -> str:
    masked = [source["name"] for source in card["sources"] if "pii" in source["clean"]]
    others = [source["name"] for source in card["sources"] if "pii" not in source["clean"]]
    if not masked:
        return "Personal data: nobody looked for it, so names, addresses and numbers of people stand where they stood."
    kinds = _names(_threshold(card, "pii", "kinds"))
    sentence = f"Personal data: in {_names(masked)}, what looks like {kinds} was masked by patterns; nothing else was."
    return sentence + (f" In {_names(others)} nothing was masked." if others else "")


def _harm(card: dict[str, Any]) -> str:
    listed = [source["name"] for source in card["sources"] if "c4" in source["clean"]]
    if listed and _threshold(card, "c4", "bad_words"):
        return (
            f"Offence and harm: in {_names(listed)}, pages with words from a list were dropped, which also takes "
            "harmless pages about the same subjects. Nothing else was looked for."
        )
    return "Offence and harm: no step has looked for hateful, sexual or dangerous text."


def _near_duplicates(card: dict[str, Any]) -> str:
    unseen = [
        source["name"]
        for source in card["sources"]
        if source["duplicates"][NEAR] is None and source["duplicates"][CONTAINED] is None
    ]
    if not unseen:
        return "Near duplicates: similarity is estimated from samples, so some pairs were missed."
    return f"Near duplicates: {_names(unseen)} {_were(unseen)} not searched for documents that are only almost equal."


def _without(what: str, sources: list[dict[str, Any]], field: str, why: str) -> str:
    documents = sum(counts["documents"] for source in sources for counts in source["splits"].values())
    unknown = sum(source[field]["unknown"]["documents"] for source in sources)
    if not unknown:
        return f"{what}: known of every document, as far as what tells it is right."
    many = "all" if unknown == documents else f"{unknown:,} of {documents:,}"
    return f"{what}: not known of {many} documents, because {why}."


def _threshold(card: dict[str, Any], rule: str, name: str) -> Any:
    return next(row["value"] for row in card["rules"][rule]["thresholds"] if row["name"] == name)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _were(names: list[str]) -> str:
    return "were" if len(names) > 1 else "was"


def _names(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
