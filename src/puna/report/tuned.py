"""What a page says of a run of instruction tuning: what is tuned, what it learns from, and what became of it."""

from dataclasses import dataclass

from puna.core.schema.lines import SampleLine, ValidationLine
from puna.core.schema.run import LowRank, TunedRecipe
from puna.core.schema.tuning import ExampleCounts, TuningRecord
from puna.core.units import counted, format_count
from puna.report.read import RunRecords

Fact = tuple[str, str]
"""What it is, and a sentence."""

_TEMPLATES = {"own": "the model's own"}
_LEARNED = {
    "answers": "all answers of the assistant, with the tokens that end them",
    "last-answer": "the last answer of each conversation, with the token that ends it",
    "everything": "every token",
}
_LOSSES = {
    "dpo": "DPO (Rafailov et al. 2023)",
    "ipo": "IPO (Azar et al. 2024), of means per token",
    "dpo-norm": "DPO of means per token (Lambert et al. 2024)",
    "apo-zero": "APO-zero (D'Oosterlinck et al. 2024)",
}
_BASES = {"as-it-is": "", "int8": ", on frozen matrices of 8 bits", "int4": ", on frozen matrices of 4 bits"}


@dataclass(frozen=True, kw_only=True)
class HeldoutRow:
    """A source's figures on what is held out, before the first step and now; None where they are not known."""

    source: str
    loss_before: float | None
    loss: float | None
    second_before: float | None
    """Bits per byte of answers; of pairs the share that is told apart as preferred."""
    second: float | None


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model answered to one prompt while it was tuned."""

    prompt: str
    before: SampleLine | None
    """Before the first step; None where nothing was written then."""
    now: SampleLine | None
    """The newest later one."""
    between: list[SampleLine]
    """The others, the latest first."""


def tuning_facts(run: RunRecords) -> list[Fact]:
    """What is tuned, how conversations are written, what is learned and by what; none of a run of pre-training."""
    tuned, known = run.config.finetune, run.tuning
    if tuned is None:
        return []
    found: list[Fact] = [("Model", _model(run))] if known or run.lineage else []
    hash_ = f"; SHA-256 {known.template_sha256}" if known else ""
    found.append(("Chat template", _TEMPLATES.get(tuned.template, tuned.template) + hash_))
    if tuned.preference is None:
        found.append(("Learned", _LEARNED.get(tuned.learn, tuned.learn)))
    else:
        loss, beta = _LOSSES.get(tuned.preference.loss, tuned.preference.loss), tuned.preference.beta
        found.append(("Learned", f"which of two answers is preferred, by {loss}, beta = {beta:g}"))
    found.append(("What learns", _method(tuned, known)))
    if noise := _noise(tuned):
        found.append(("Noise while training", noise))
    if known:
        found.append(("Sequences", _sequences(tuned, known)))
    if tuned.method == "lora" and run.record is not None:
        found.append(("Result", _result(run.record.outputs)))
    return found


def heldout_rows(run: RunRecords) -> list[HeldoutRow]:
    """The sources that the run was validated on, with the figures before its first step and the newest ones."""
    first = run.validations[0] if run.validations and run.validations[0].step == 0 else None
    last = run.validations[-1] if run.validations else None
    last = None if last is first else last
    sources = dict.fromkeys(source for line in (first, last) if line for source in line.loss)
    seconds = _told_apart(run) if run.config.finetune and run.config.finetune.preference else _bits(first, last)
    return [
        HeldoutRow(
            source=source, loss_before=first.loss.get(source) if first else None,
            loss=last.loss.get(source) if last else None, second_before=seconds[0].get(source),
            second=seconds[1].get(source),
        )
        for source in sources
    ]  # fmt: skip


def answers(run: RunRecords) -> list[Answers]:
    """Each prompt with what was answered before the first step and last."""
    found = []
    for prompt in dict.fromkeys(sample.prompt for sample in run.samples):
        own = [sample for sample in run.samples if sample.prompt == prompt]
        before = own[0] if own[0].step == 0 else None
        later = [sample for sample in own if sample is not before]
        found.append(
            Answers(prompt=prompt, before=before, now=later[-1] if later else None, between=later[-2::-1])
        )  # fmt: skip
    return found


def legible(text: str) -> str:
    """A text whose control characters are visible, as the Unicode pictures of them: `␛` for an escape."""
    return "".join(chr(0x2400 + ord(sign)) if ord(sign) < 32 and sign not in "\n\t" else sign for sign in text)


def model_place(run: RunRecords) -> str:
    """What the run has tuned, as the user named it; empty where it is not known."""
    return run.tuning.model if run.tuning else run.lineage[-1].place if run.lineage else ""


def _model(run: RunRecords) -> str:
    parent, place = run.lineage[-1] if run.lineage else None, model_place(run)
    if parent is None or parent.step is None:
        return place
    tokens = f", after {format_count(parent.tokens)} tokens" if parent.tokens else ""
    return f"{place}, at its step {parent.step:,}{tokens}"


def _method(tuned: TunedRecipe, known: TuningRecord | None) -> str:
    if tuned.method == "lora" and tuned.lora is not None:
        text = _low_rank(tuned.lora) + _BASES.get(tuned.base, f", on {tuned.base}")
    else:
        text = "all parameters"
    if tuned.freeze:
        text += f", without {', '.join(tuned.freeze)}"
    if known is None or not known.parameters:
        return text
    share = f"{100 * known.learned / known.parameters:.3g} %"
    return f"{text}: {known.learned:,} numbers, {share} of the model's {known.parameters:,} parameters"


def _low_rank(lora: LowRank) -> str:
    name = "rank-stabilised low-rank updates" if lora.rank_stabilised else "low-rank updates"
    dora = " and the norms of the weights of each output (DoRA)" if lora.dora else ""
    return f"{name} of {', '.join(lora.targets)}{dora}, rank {lora.rank}, alpha {lora.alpha:g}"


def _noise(tuned: TunedRecipe) -> str:
    update = tuned.lora.dropout if tuned.method == "lora" and tuned.lora else 0.0
    parts = [
        f"dropout {tuned.dropout:g}" if tuned.dropout else "",
        f"dropout {update:g} before the updates" if update else "",
        f"NEFTune with alpha {tuned.neftune:g}" if tuned.neftune else "",
    ]
    return ", ".join(filter(None, parts))


def _sequences(tuned: TunedRecipe, known: TuningRecord) -> str:
    run = known.run
    kind = "pairs of answers" if tuned.preference is not None else "examples"
    how = "packed by best fit, each sees itself alone" if tuned.pack else "one in each sequence"
    text = f"{run.sequences:,} sequences of {run.context:,} positions hold {sum(run.examples.values()):,} {kind}, {how}"
    return text if run.filled is None else f"{text}; {100 * run.filled:.1f} % of the positions hold tokens"


def _result(outputs: dict[str, str]) -> str:
    if "model.safetensors" not in outputs:
        return "adapter/ holds the updates in PEFT's format; rounded matrices are not merged with them"
    return "the updates are merged into model/, and adapter/ holds them alone in PEFT's format"


def _bits(first: ValidationLine | None, last: ValidationLine | None) -> tuple[dict[str, float], dict[str, float]]:
    return first.bits_per_byte if first else {}, last.bits_per_byte if last else {}


def _told_apart(run: RunRecords) -> tuple[dict[str, float], dict[str, float]]:
    """The share of held-out pairs that are told apart, by source, before the first step and now."""
    lines = [line for line in run.preferences if line.split == "heldout"]
    first = lines[0] if lines and lines[0].step == 0 else None
    last = lines[-1] if lines and lines[-1] is not first else None
    before, now = (
        {source: figures.accuracy for source, figures in line.sources.items()} if line else {} for line in (first, last)
    )
    return before, now


def left_out_examples(run: RunRecords) -> list[tuple[ExampleCounts, str, int, str]]:
    """What was lost when the examples were written as tokens: whose, the reason, how many, and what it means."""
    found = []
    for counts in run.tuning.counts if run.tuning else []:
        for reason, number in sorted(counts.dropped.items(), key=lambda item: (-item[1], item[0])):
            meaning = run.tuning.reasons.get(reason, "") if run.tuning else ""
            found.append((counts, f"dropped: {reason}", number, meaning))
        if cut := counts.cut.examples:
            learned = f", of which {counts.cut.targets:,} would have been learned" if counts.cut.targets else ""
            meaning = f"their prompts lost {counted(counts.cut.tokens, 'token')} from the left{learned}"
            found.append((counts, "cut", cut, meaning))
    return found
