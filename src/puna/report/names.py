"""Long names where there is little room."""

LONGEST_NAME = 30
"""Characters of a name in a legend, at most: two of them still fit beside each other in a chart of half a page."""


def shortened(name: str, most: int = LONGEST_NAME) -> str:
    """The name, with an ellipsis for its middle where it is longer than `most` characters: both ends tell names apart.

    `a_source_with_a_very_long_name_of_2024` becomes `a_source_with_…g_name_of_2024`.
    """
    if len(name) <= most:
        return name
    start = most // 2
    return f"{name[:start]}…{name[-(most - start - 1) :]}"
