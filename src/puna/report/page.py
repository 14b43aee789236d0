"""`report.html`: one page from a run's records that works offline, on a phone, in the dark and on paper.

A policy in its head forbids the browser to load anything, even if text of the run refers to it.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from puna.core.files import write_text
from puna.core.layout import RunDir
from puna.core.schema.lines import SampleLine
from puna.core.units import format_bytes, format_carbon, format_count, format_duration, format_energy
from puna.report.charts import charts
from puna.report.read import RunRecords, read_run


def write_report(run: RunDir) -> Path:
    """Write the report of a finished run from its directory alone; returns the path of the page.

    Raises:
        DataError: There is no finished run, or a file of it is damaged or of another stage.
        StorageError: The disk is full or not writable.
    """
    write_text(run.report, render(read_run(run)))
    return run.report


def render(run: RunRecords) -> str:
    """The page as HTML. Text of a run is escaped everywhere: a sample may well be `<script>`."""
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "count": format_count,
        "bytes": format_bytes,
        "duration": format_duration,
        "energy": format_energy,
        "carbon": format_carbon,
        "script_json": lambda value: Markup(script_json(value)),  # noqa: S704
    }
    folder = resources.files("puna.report")
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    page = template.render(
        run=run,
        record=run.record,
        results=run.record.results,
        unigrams={source.name: source.unigram_bits_per_byte for source in run.card.sources} if run.card else {},
        charts=charts(run),
        samples=_samples_by_prompt(run),
        style=Markup((folder / "page.css").read_text(encoding="utf-8")),  # noqa: S704
        script=Markup((folder / "page.js").read_text(encoding="utf-8")),  # noqa: S704
        plotly=Markup(get_plotlyjs()),  # noqa: S704
    )
    # JSON can hold half of a surrogate pair, UTF-8 cannot.
    return page.encode("utf-8", "replace").decode()


def script_json(value: Any) -> str:
    """JSON that cannot end the script element around it."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _samples_by_prompt(run: RunRecords) -> list[tuple[str, list[SampleLine]]]:
    """Each prompt with its samples, the latest first."""
    prompts = dict.fromkeys(sample.prompt for sample in run.samples)
    return [(prompt, [sample for sample in reversed(run.samples) if sample.prompt == prompt]) for prompt in prompts]
