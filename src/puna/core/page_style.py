"""What all pages of Puna share: their look in the light and the dark, on phones and on paper, and data in scripts."""

import json
from importlib import resources
from typing import Any


def page_style(package: str, *names: str) -> str:
    """The style sheet of a page.

    Args:
        package: Where the page's own style sheets lie, such as `puna.report`.
        names: Their names, in the order in which they follow the shared one.
    """
    own = [(resources.files(package) / name).read_text(encoding="utf-8") for name in names]
    return "\n".join([(resources.files("puna.core") / "page.css").read_text(encoding="utf-8"), *own])


def script_json(value: Any) -> str:
    """JSON that cannot end the script element around it."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
