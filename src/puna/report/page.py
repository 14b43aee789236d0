"""`report.html`: one page from a run's records that works offline, on a phone and on paper."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from puna.core.files import write_text
from puna.core.layout import RunDir
from puna.core.units import format_bytes, format_carbon, format_count, format_duration, format_energy
from puna.report.charts import charts
from puna.report.read import RunRecords, read_run


def write_report(run: RunDir) -> Path:
    """Write the report of a finished run and return where it is.

    Raises:
        DataError: There is no finished run, or a file of it is damaged.
        StorageError: The disk is full or not writable.
    """
    write_text(run.report, render(read_run(run)))
    return run.report


def render(run: RunRecords) -> str:
    """The page as HTML. Text of a run is escaped wherever it stands: a sample may well be `<script>`."""
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
        "script_json": lambda value: Markup(_script_json(value)),  # noqa: S704
    }
    folder = resources.files("puna.report")
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    return template.render(
        run=run,
        results=run.record["results"],
        charts=charts(run),
        samples=_samples_by_prompt(run),
        style=Markup((folder / "page.css").read_text(encoding="utf-8")),  # noqa: S704
        script=Markup((folder / "page.js").read_text(encoding="utf-8")),  # noqa: S704
        plotly=Markup(get_plotlyjs()),  # noqa: S704
    )


def _script_json(value: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _samples_by_prompt(run: RunRecords) -> list[tuple[str, list[dict[str, Any]]]]:
    """Each prompt with its samples, the latest first; a step that was sampled twice keeps its last text."""
    by_prompt: dict[str, dict[int, dict[str, Any]]] = {}
    for sample in run.samples:
        by_prompt.setdefault(sample["prompt"], {})[sample["step"]] = sample
    return [(prompt, [steps[step] for step in sorted(steps, reverse=True)]) for prompt, steps in by_prompt.items()]
