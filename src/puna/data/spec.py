"""What a rule and a reader say of themselves: the records of Puna's own, and those that plug-ins bring."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from puna.config.data import Source
from puna.config.section import Section
from puna.data.document import Reader, Rule


@dataclass(frozen=True, kw_only=True)
class RuleSpec:
    """All that there is to know of a rule."""

    name: str
    """As a source's `clean` names it: small letters and digits, with `-` between words."""
    settings: type[Section]
    """What stands in `[data.rules.<name>]`, with `_` for `-`; its docstrings become the data card's."""
    make: Callable[[Any], Rule]
    """Makes the rule from an instance of `settings`."""
    does: str
    """What it does, in a few words."""
    after: str = ""
    """The paper and section, or whatever it follows."""
    changes: Literal["nothing", "characters", "lines"] = "nothing"
    """What it changes in a text that it keeps. A rule that changes characters where they stand is applied to each turn
    of a conversation by itself; one that takes out lines is refused for conversations: they would not be whole."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """A sentence for each reason for which it drops a document, called `<name>.<reason>`, and for each kind of `Lost`
    that it tells of."""


@dataclass(frozen=True, kw_only=True)
class ReaderSpec:
    """All that there is to know of a reader."""

    name: str
    """As a source's `format` names it: small letters and digits, with `-` between words."""
    make: Callable[[str, Source, int], Reader]
    """Makes the reader from the source's name and settings and the most bytes of a record."""
    reads: str
    """What the files hold, in a few words."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """A sentence for each reason for which it drops a record, called `<name>.<reason>`, and for each kind of `Lost`
    that it tells of."""
    damage: Collection[str] = ()
    """Those of `reasons` that nobody has chosen: the record could not be read or understood. They count as lost."""
