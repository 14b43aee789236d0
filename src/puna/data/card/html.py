"""`card.html`: the card as one page that works offline, on a phone, in the dark and on paper.

It has no script, and a policy in its head forbids the browser to load anything, even if a name in the data refers to
it.
"""

import re
from importlib import resources
from typing import Any

from puna.core.page_style import page_style
from puna.data.card.blocks import Code, Flow, Points, Sentence, Table
from puna.data.card.page import figures, sections


def html(card: dict[str, Any]) -> str:
    """The page. Text of sources and recipes is escaped everywhere."""
    import jinja2
    from markupsafe import Markup, escape

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )

    def code(text: str) -> Markup:
        # The code between backticks in the sentences; they were escaped before.
        return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704

    def width(share: float) -> str:
        return f"{100 * share:.2f}%"

    environment.filters |= {"code": code, "width": width}
    environment.tests |= {
        kind.__name__.lower(): (lambda value, kind=kind: isinstance(value, kind))
        for kind in (Table, Flow, Points, Code, Sentence)
    }
    template = environment.from_string((resources.files("puna.data.card") / "card.html").read_text(encoding="utf-8"))
    page = template.render(
        card=card,
        figures=figures(card),
        sections=sections(card),
        style=Markup(page_style("puna.data.card", "card.css")),  # noqa: S704
    )
    # JSON can hold half of a surrogate pair, UTF-8 cannot.
    return page.encode("utf-8", "replace").decode()
