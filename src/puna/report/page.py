"""`report.html`: one page from a run's records that works offline, on a phone, in the dark and on paper.

A run that is not finished has a page too, which says so and shows what its metrics hold by then.

A policy in its head forbids the browser to load anything, even if text of the run refers to it.
"""

from datetime import UTC, datetime
from pathlib import Path

from puna.core.files import write_text
from puna.core.layout import RunDir
from puna.core.reference import Moment
from puna.core.schema.lines import SampleLine
from puna.core.units import counted, format_bytes, format_count
from puna.core.version import VERSION
from puna.report.charts import charts
from puna.report.evaluated import row_of
from puna.report.evaluation_charts import evaluation_charts
from puna.report.figures import heldout, speed, summary, tiles
from puna.report.past import again, goes_on, sessions
from puna.report.read import RunRecords, read_run
from puna.report.template import render_page
from puna.report.tuned import answers, heldout_rows, left_out_examples, legible, tuning_facts
from puna.report.tuned_figures import tuned_summary, tuned_tiles
from puna.report.wording import wording


def write_report(run: RunDir, moment: Moment | None = None) -> Path:
    """Write the report of a run, finished or not, from its directory alone.

    Args:
        run: The run.
        moment: Show the run as it was when this checkpoint was saved, on a page of that name beside the report.

    Returns:
        The path of the page.

    Raises:
        DataError: There is no run, or a file of it is damaged or of another stage.
        CheckpointError: The state of its checkpoint is damaged.
        StorageError: The disk is full or not writable.
    """
    page = run.report if moment is None else run.report.with_stem(f"{run.report.stem}-{moment.name}")
    write_text(page, render(read_run(run, moment)))
    return page


def render(run: RunRecords) -> str:
    """The whole page as HTML, with style, scripts and figures in it."""
    tuned, words = run.config.finetune, wording(run.config)
    return render_page(
        "page.html",
        styles=["page.css"],
        script="page.js",
        filters={"count": format_count, "bytes": format_bytes, "moment": _moment, "legible": legible},
        run=run,
        config=run.config,
        record=run.record,
        progress=run.progress,
        puna=VERSION,
        words=words,
        summary=tuned_summary(run) if tuned else summary(run),
        tiles=tuned_tiles(run) if tuned else tiles(run),
        tuned=tuned,
        tuning_facts=tuning_facts(run),
        heldout_rows=heldout_rows(run) if tuned else [],
        left_out_examples=left_out_examples(run),
        answers=answers(run) if tuned else [],
        chat=run.chat,
        chat_rows=heldout_rows(run.chat) if run.chat else [],
        heldout=heldout(run),
        speed=speed(run),
        sessions=sessions(run),
        goes_on=goes_on(run),
        again=again(run),
        left_out=_left_out(run),
        unigrams=run.card.unigrams if run.card else {},
        charts=charts(run),
        benchmarks=[row_of(benchmark) for benchmark in run.benchmarks],
        evaluation_charts=evaluation_charts(
            run.benchmarks, run.step * run.config.train.batch_tokens, across=words.across
        ),
        samples=_samples_by_prompt(run),
    )


def _moment(iso: str) -> str:
    """A time of a record as people write it, in UTC: `2026-01-31 12:00 UTC`; any other text stays as it is."""
    try:
        return datetime.fromisoformat(iso).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError):
        return iso


def _left_out(run: RunRecords) -> str:
    """How many batches were left out, and how often the run went back."""
    parts = []
    if run.skipped:
        parts.append(counted(len(run.skipped), "batch", "batches"))
    if run.rollbacks:
        returns = counted(len(run.rollbacks), "return to a checkpoint", "returns to a checkpoint")
        parts.append(f"those before {returns}")
    return f"{', and '.join(parts)}; the latest"


def _samples_by_prompt(run: RunRecords) -> list[tuple[str, list[SampleLine]]]:
    """Each prompt with its samples, the latest first."""
    prompts = dict.fromkeys(sample.prompt for sample in run.samples)
    return [(prompt, [sample for sample in reversed(run.samples) if sample.prompt == prompt]) for prompt in prompts]
