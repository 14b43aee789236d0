"""The content of a card's pages, section by section, for both Markdown and HTML."""

from typing import Any

from puna.core.units import counted, format_bytes, format_count
from puna.data.card.blocks import (
    Block,
    Code,
    Flow,
    Points,
    Section,
    Sentence,
    Step,
    Table,
    change,
    percent,
    size,
    value,
)
from puna.data.card.examples import example_blocks, has_examples, mixture_blocks, size_blocks, turns_of, what_of
from puna.data.card.learned import learned_blocks
from puna.data.card.lost import lost_blocks
from puna.data.card.near import near_blocks
from puna.data.card.notes import MANY_EPOCHS, unknowns, warnings
from puna.data.document import CONTAINED, DUPLICATE, NEAR
from puna.data.tasks.counts import DEDUP, NOT_STATED, NOT_TOLD, READ

_ROWS = 8
"""How many languages or licences of a source a page shows."""
_TOKENIZERS = {"sentencepiece": "SentencePiece BPE", "byte-bpe": "Byte-level BPE"}
_STEPS = {READ: "records become text", DEDUP: "duplicates are dropped"}
_USE_OF_EXAMPLES = [
    "It was built for instruction tuning: a model that is there learns the answers. Held-out examples are there to "
    "measure it and nothing else.",
    "It is not a sample of what people ask or of how they talk: what it holds follows from its sources and its rules.",
    "Whoever passes it on needs the right to do so for every source: see the licences. Where models have written "
    "answers, the terms of their use may say more.",
]
_USE = [
    "It was built to pre-train language models. The held-out text is there to measure them and nothing else.",
    "It is not a sample of a language or of a population: what it holds follows from its sources and its rules.",
    "Whoever passes it on needs the right to do so for every source: see the licences.",
]


def figures(card: dict[str, Any]) -> list[tuple[str, str]]:
    """The build in a few numbers, each with what it counts."""
    counts = [counts for source in card["sources"] for counts in source["splits"].values()]
    documents, text, tokens = (sum(part[key] or 0 for part in counts) for key in ("documents", "bytes", "tokens"))
    found = sum(source["steps"][0]["in"]["documents"] for source in card["sources"])
    dropped = sum(sum(source["dropped"].values()) for source in card["sources"])
    sources = len(card["sources"])
    return [
        (f"{documents:,}", f"{what_of(card)}{'s' * (documents != 1)} from {counted(sources, 'source')}"),
        (format_bytes(text), "of text"),
        turns_of(card) if has_examples(card) else (format_count(tokens), "tokens"),
        (percent(dropped / max(found, 1)), f"dropped: {dropped:,} of {counted(found, 'record')}"),
    ]


def sections(card: dict[str, Any]) -> list[Section]:
    """The whole page, in order; warnings come first where there are any."""
    found, what = warnings(card), what_of(card)
    examples = has_examples(card)
    parts = [
        Section("use", "What it is for", [Points(_USE_OF_EXAMPLES if examples else _USE)]),
        Section("sources", "Sources", _sources(card)),
        Section("mixture", "Mixture", mixture_blocks(card) if examples else _mixture(card)),
        *([Section("examples", "Turns and tasks", example_blocks(card))] if examples else []),
        Section("steps", f"From records to {what}s", [*map(_flow, card["sources"])]),
        Section("dropped", f"Why {what}s were dropped", _dropped(card)),
        Section("lost", "Lost on the way", lost_blocks(card)),
        Section("duplicates", "Duplicates", _duplicates(card)),
        Section("evaluation-sets", "Evaluation sets", _evaluation_sets(card)),
        Section("languages", "Languages, licences, years", _described(card)),
        Section("unknown", "What this card does not know", [Points(unknowns(card))]),
        Section("rules", "Rules and thresholds", _rules(card)),
        *([] if examples else [Section("tokenizer", "Tokenizer", _tokenizer(card))]),
        Section("provenance", "How it was made", _provenance(card)),
    ]
    return ([Section("warnings", "Warnings", [Points(found)])] if found else []) + parts


def _sources(card: dict[str, Any]) -> list[Block]:
    places = [
        [source["name"], source["version"], Code(source["format"]), _licence(source)] for source in card["sources"]
    ]
    origin = Table("Where the text comes from", ["source", "from", "format", "licence"], 4, places)
    if has_examples(card):
        return [origin, *size_blocks(card)]
    sizes = [
        [
            source["name"], "held-out" if split == "heldout" else split, f"{counts['documents']:,}",
            format_bytes(counts["bytes"]), f"{counts['tokens']:,}", f"{counts['bytes_per_token']:.2f}",
        ]
        for source in card["sources"]
        for split, counts in source["splits"].items()
    ]  # fmt: skip
    return [
        origin,
        Table("How much of it there is", ["source", "split", "documents", "text", "tokens", "bytes/token"], 2, sizes),
        "Held-out documents are not trained on: they measure the model. Tokens count the marks where a document begins "
        "and ends.",
    ]


def _licence(source: dict[str, Any]) -> str:
    """The source's licence, or where else licences are stated, if at all."""
    return source["licence"] or ("as each document states" if source["licences"]["named"] else "not stated")


def _mixture(card: dict[str, Any]) -> list[Block]:
    paper = any(source["paper"] for source in card["sources"])
    header = ["source", "share planned", "share built", "tokens", "epochs planned", "epochs built", "epochs at most"]
    rows = []
    for source in card["sources"]:
        built, most, table = source["built"], source["max_epochs"], source["paper"]
        row = [
            source["name"], percent(source["share"]), percent(built["share"]) if built else "none",
            format_count(source["run_tokens"]), _epochs(source["epochs"]),
            _epochs(built["epochs"]) if built else "none", "any" if most is None else f"{most:,g}",
        ]  # fmt: skip
        if paper:
            row += [percent(table["share"]), f"{table['epochs']:.2f}"] if table else ["", ""]
        rows.append(row)
    run = card["run"]
    stages = f", in {run['stages']} stages with mixtures of their own" if run["stages"] > 1 else ""
    blocks: list[Block] = [
        Table(
            f"How a run of {format_count(run['tokens'])} tokens reads the sources{stages}",
            header + (["LLaMA: share", "LLaMA: epochs"] if paper else []), 1, rows,
        ),
        "Planned is what the recipe's shares say; built is what the order of the data gives, in whole sequences. Up to "
        f"{MANY_EPOCHS} epochs, repeated text is worth nearly as much as new text (Muennighoff et al. 2023).",
    ]  # fmt: skip
    return [*blocks, "LLaMA's figures are those of Touvron et al. 2023, table 1, for 1.4T tokens."] if paper else blocks


def _epochs(value: float) -> str:
    """The number with two decimals; a small one that would become 0 is shown as less than the smallest."""
    return "under 0.01" if 0 < value < 0.005 else f"{value:,.2f}"


def _flow(source: dict[str, Any]) -> Block:
    steps, found = source["steps"], source["steps"][0]["in"]["documents"]
    rows = []
    for step in steps:
        came, lost, left = step["in"], step["lost"], step["out"]
        first = step is steps[0]
        cut = came["bytes"] - lost["bytes"] - left["bytes"]
        rows.append(
            Step(
                Code(step["step"]),
                _STEPS.get(step["step"], ""),
                left["documents"] / max(found, 1),
                lost["documents"] / max(found, 1),
                [
                    f"{came['documents']:,}", f"{lost['documents']:,}", f"{left['documents']:,}",
                    "" if first else size(lost["bytes"]), "" if first else change(-cut),
                    format_bytes(left["bytes"]),
                ],
            )
        )  # fmt: skip
    train, heldout = (source["splits"][split]["documents"] for split in ("train", "heldout"))
    caption = (
        f"{source['name']}: {counted(found, 'record')}, {counted(train + heldout, 'document')} "
        f"({train:,} to train on, {heldout:,} held out)"
    )
    return Flow(caption, ["in", "dropped", "left", "text dropped", "text changed", "text left"], rows)


def _dropped(card: dict[str, Any]) -> list[Block]:
    rows = [
        [
            source["name"], Code(step["step"]), Code(reason), Sentence(card["reasons"].get(reason, "")),
            f"{counts['documents']:,}", size(counts["bytes"]),
        ]
        for source in card["sources"]
        for step in source["steps"]
        for reason, counts in step["dropped"].items()
    ]  # fmt: skip
    if not rows:
        return ["Nothing was dropped."]
    kept = "with its text" if card["build"]["keep_dropped"] else "without its text"
    return [
        Table("Each step, each reason", ["source", "step", "reason", "meaning", "documents", "text"], 4, rows),
        f"Every dropped document is named with its reason and what was measured, {kept}, in "
        "`documents/SOURCE/dropped`; `puna data inspect` shows them beside what was kept.",
    ]


def _duplicates(card: dict[str, Any]) -> list[Block]:
    rows = [
        [
            source["name"],
            *(
                "not looked for" if (counts := source["duplicates"][kind]) is None else f"{counts['documents']:,}"
                for kind in (DUPLICATE, NEAR, CONTAINED)
            ),
        ]
        for source in card["sources"]
    ]
    dedup = card["dedup"]
    near, contained = dedup["near"], dedup["contained"]
    sentences = {
        "across": "Equal texts were looked for across all sources.",
        "within": "Equal texts were looked for within each source.",
        "none": "Equal texts were not looked for.",
    }[dedup["exact"]]
    if near["sources"]:
        middle = (1 - 0.5 ** (1 / near["bands"])) ** (1 / near["rows"])
        sentences += (
            f" Nearly equal ones were found by MinHash over {near['ngram']}-grams of words, {near['bands']} bands of "
            f"{near['rows']} rows: half of the pairs with a Jaccard similarity of {middle:.2f}, most of those above it."
        )
    if contained["sources"]:
        sentences += (
            f" A document went if another one holds {percent(contained['threshold'])} of its "
            f"{contained['ngram']}-grams of words, estimated from one in {contained['sample']}."
        )
    sentences += " Of equal ones, held-out text stays before training text, then the first in the recipe's order."
    return [
        Table(
            "Documents that went because another one stays", ["source", "equal", "nearly equal", "contained"], 1, rows
        ),
        sentences,
        *near_blocks(card),
    ]


def _evaluation_sets(card: dict[str, Any]) -> list[Block]:
    compared = [source for source in card["sources"] if source["evaluation_sets"] is not None]
    if not compared:
        return ["No source was compared with evaluation sets."]
    rows = [
        [
            source["name"],
            name,
            f"{counts['documents']:,}",
            f"{counts['rows']:,}",
            f"{counts['compared']:,}",
            f"{counts['whole']:,}",
            f"{counts['of']:,}",
        ]
        for source in compared
        for name, counts in source["evaluation_sets"].items()
    ]
    settings = {row["name"]: row["value"] for row in card["rules"]["decontaminate"]["thresholds"]}
    least = settings.get("short_words")
    short = (
        f"rows that are shorter are compared whole if they have a string of {least} words, and otherwise not at all."
        if least
        else "rows that are shorter are not compared (`data.rules.decontaminate.short_words` compares them whole)."
    )
    end = "were dropped" if settings["action"] == "drop" else "are named in `documents/SOURCE/report` and stay"
    hashes = {
        (name, file): digest
        for source in compared
        for name, counts in source["evaluation_sets"].items()
        for file, digest in counts.get("sha256", {}).items()
    }
    files = [[name, file, digest] for (name, file), digest in hashes.items()]
    return [
        Table(
            "What overlaps",
            ["source", "set", "documents", "rows found", "rows compared", "compared whole", "rows of the set"],
            2,
            rows,
        ),
        f"Documents with {settings['ngram']} words in a row of an evaluation set {end} (Brown et al. 2020, appendix "
        f"C); {short}",
        *([Table("What was compared", ["set", "file", "SHA-256"], 3, files)] if files else []),
    ]


def _described(card: dict[str, Any]) -> list[Block]:
    tables: list[Block] = []
    for field, name, unknown in (("languages", "language", NOT_TOLD), ("licences", "licence", NOT_STATED)):
        rows = [row for source in card["sources"] for row in _frequent(source, field, unknown)]
        tables.append(Table(f"By {name}", ["source", name, "documents", "text", "of the text"], 2, rows))
    rows = [_time(source) for source in card["sources"]]
    by_year = Table("By year", ["source", "first", "median", "last", "documents with a year"], 1, rows)
    return [*tables, by_year] if any(source["years"]["named"] for source in card["sources"]) else tables


def _frequent(source: dict[str, Any], field: str, unknown: str) -> list[list[str]]:
    """The most frequent names of a source, all others in one row, and documents without a name."""
    table = source[field]
    named = list(table["named"].items())
    shown, rest = named[:_ROWS], [counts for _, counts in named[_ROWS:]]
    names = len(rest) + table["others"]["names"]
    others = {key: sum(counts[key] for counts in [*rest, table["others"]]) for key in ("documents", "bytes")}
    rows = [*shown, (counted(names, "other"), others), (unknown, table["unknown"])]
    whole = max(sum(counts["bytes"] for counts in source["splits"].values()), 1)
    return [
        [
            source["name"],
            name,
            f"{counts['documents']:,}",
            format_bytes(counts["bytes"]),
            percent(counts["bytes"] / whole),
        ]
        for name, counts in rows
        if counts["documents"]
    ]


def _time(source: dict[str, Any]) -> list[str]:
    named, unknown = source["years"]["named"], source["years"]["unknown"]["documents"]
    told = sum(counts["documents"] for counts in named.values())
    if not told:
        return [source["name"], "", "", "", f"none of {unknown:,}"]
    seen, middle = 0, ""
    for year, counts in named.items():
        seen += counts["documents"]
        if 2 * seen >= told:
            middle = year
            break
    return [source["name"], min(named), middle, max(named), f"{told:,} of {told + unknown:,}"]


def _rules(card: dict[str, Any]) -> list[Block]:
    orders = [
        [source["name"], Code(" → ".join(source["clean"])) if source["clean"] else "none"] for source in card["sources"]
    ]
    blocks: list[Block] = [Table("Rules that documents pass through, in order", ["source", "rules"], 2, orders)]
    for name, rule in card["rules"].items():
        rows = [[Code(row["name"]), value(row["value"]), Sentence(row["meaning"])] for row in rule["thresholds"]]
        blocks.append(Table(f"{name}: {rule['about']}", ["threshold", "value", "meaning"], 3, rows))
    return blocks


def _tokenizer(card: dict[str, Any]) -> list[Block]:
    rows = [[source["name"], f"{source['unigram_bits_per_byte']:.3f}"] for source in card["sources"]]
    tokenizer = card["tokenizer"]
    return [
        f"{_TOKENIZERS[tokenizer['kind']]}, {tokenizer['vocab_size']:,} tokens, SHA-256 `{tokenizer['sha256']}`.",
        Table(
            "Token frequencies alone, on held-out text: what a model must beat", ["source", "bits per byte"], 1, rows
        ),
        *learned_blocks(card),
    ]


def _provenance(card: dict[str, Any]) -> list[Block]:
    build = card["build"]
    commit = build["commit"] or ""
    changed = " with uncommitted changes" if commit.endswith("+") else ""
    packages = {"Python": build["python"]} | build["packages"]
    rows = [
        ["Puna", build["puna"] + (f", commit {commit.rstrip('+')}{changed}" if commit else "")],
        ["packages", ", ".join(f"{name} {version}" for name, version in packages.items())],
        ["recipe, SHA-256", Code(build["recipe_sha256"])],
        ["input files (names, sizes, times), SHA-256", Code(build["files_sha256"])],
        ["documents, SHA-256", Code(build["documents_sha256"])],
        ["limit on a document", f"{format_bytes(build['max_document_bytes'])}; larger ones are dropped"],
    ]  # fmt: skip
    return [
        "`puna data build config.toml`, with the recipe beside this card and the same input files, makes the same "
        f"documents{'' if has_examples(card) else ' and token shards'}, byte for byte, on any number of machines.",
        Table("What the build was made with", ["what", "value"], 2, rows),
    ]
