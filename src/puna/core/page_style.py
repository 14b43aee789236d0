"""The look that all pages of Puna share: colours in the light and the dark, tables, key figures, phones, paper."""

from importlib import resources


def page_style(package: str, *names: str) -> str:
    """The style sheet of a page.

    Args:
        package: Where the page's own style sheets lie, such as `puna.report`.
        names: Their names, in the order in which they follow the shared one.
    """
    own = [(resources.files(package) / name).read_text(encoding="utf-8") for name in names]
    return "\n".join([(resources.files("puna.core") / "page.css").read_text(encoding="utf-8"), *own])
