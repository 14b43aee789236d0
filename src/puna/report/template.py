"""The pages of runs as HTML: one template environment for the report and for comparisons."""

from collections.abc import Callable
from importlib import resources
from typing import Any

from puna.core.page_style import page_style, script_json


def render_page(
    template: str, *, styles: list[str], script: str, filters: dict[str, Callable[..., Any]], **values: Any
) -> str:
    """A page from a template of this package. Text of a run is escaped everywhere: a sample may well be `<script>`.

    Args:
        template: The template's file.
        styles: Files of rules that follow the shared ones.
        script: The file of the page's script.
        filters: Filters of the template, beside `script_json`.
        values: What else the template names.
    """
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    folder = resources.files("puna.report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
    )  # fmt: skip
    environment.filters |= filters | {"script_json": lambda value: Markup(script_json(value))}  # noqa: S704
    page = environment.get_template(template).render(
        style=Markup(page_style("puna.report", *styles)),  # noqa: S704
        script=Markup((folder / script).read_text(encoding="utf-8")),  # noqa: S704
        plotly=Markup(get_plotlyjs()),  # noqa: S704
        **values,
    )
    # JSON can hold half of a surrogate pair, UTF-8 cannot.
    return page.encode("utf-8", "replace").decode()
