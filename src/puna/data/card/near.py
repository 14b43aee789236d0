"""Groups of nearly equal documents on the card: how large they are, and how like the one that stays."""

from typing import Any

from puna.data.card.blocks import Block, Table
from puna.data.tasks.counts import Counts

_HALF = "0.5"
_UNLIKE = 0.05
"""Share of the documents of groups that may be less than half like the one that stays without a warning: of pairs with
a similarity of 0.5, bands as FineWeb's join one in twenty."""


def near_groups(counts: Counts) -> dict[str, Any]:
    """The figures of a source, from those of its groups (`puna.data.stages.similar`)."""
    sizes = {
        int(size): {int(least): count for least, count in of.items()} for size, of in counts.get("sizes", {}).items()
    }
    groups = {size: sum(of.values()) for size, of in sorted(sizes.items())}
    largest = max(groups, default=0)
    by_size: dict[str, int] = {}
    for size, count in groups.items():
        by_size[_range(size)] = by_size.get(_range(size), 0) + count
    like: dict[str, int] = {}
    for hundredth in sorted(map(int, counts.get("like", {}))):
        tenth = f"{hundredth // 10 / 10:.1f}"
        like[tenth] = like.get(tenth, 0) + counts["like"][str(hundredth)]
    return {
        "groups": sum(groups.values()),
        "documents": sum(size * count for size, count in groups.items()),
        "sizes": by_size,
        "largest": largest,
        "largest_least": min(map(int, sizes[largest])) / 100 if largest else None,
        "like": like,
        "stay": counts.get("stay", 0),
    }


def near_blocks(card: dict[str, Any]) -> list[Block]:
    """Tables of the groups, where there are any."""
    found = [source for source in card["sources"] if source["near_groups"] and source["near_groups"]["groups"]]
    if not found:
        return []
    rows, sizes, likes = [], [], []
    for source in found:
        groups = source["near_groups"]
        rows.append([
            source["name"], f"{groups['groups']:,}", f"{groups['documents']:,}", f"{groups['largest']:,}",
            f"{groups['largest_least']:.2f}", f"{_unlike(groups):,}", f"{groups['stay']:,}",
        ])  # fmt: skip
        sizes += [[source["name"], size, f"{count:,}"] for size, count in groups["sizes"].items()]
        likes += [[source["name"], f"{tenth} and more", f"{count:,}"] for tenth, count in groups["like"].items()]
    header = ["source", "groups", "documents", "largest", "its least like", "less than half like", "stay as unlike"]
    least = card["dedup"]["near"]["least"]
    end = f"Those below {least:g} stayed." if least else "All went; `dedup.near.least` would keep some."
    return [
        Table("Groups of nearly equal documents, by the source of the one that stays", header, 1, rows),
        "Documents are joined to others that they resemble, and these to others again, so a group can hold documents "
        "that are not like the one that stays. How like they are is their Jaccard similarity as estimated from "
        f"sketches, with a standard deviation of 0.05. {end}",
        Table("Groups by size", ["source", "documents", "groups"], 2, sizes),
        Table("Documents by their likeness to the one that stays", ["source", "likeness", "documents"], 2, likes),
    ]  # fmt: skip


def near_warnings(card: dict[str, Any]) -> list[str]:
    """A sentence on each source from which documents went for one that they hardly resemble."""
    found = []
    for source in card["sources"]:
        groups = source["near_groups"]
        if not groups or card["dedup"]["near"]["least"] >= float(_HALF):
            continue
        unlike, others = _unlike(groups), groups["documents"] - groups["groups"]
        if unlike > _UNLIKE * others:
            found.append(
                f"{source['name']}: {unlike:,} of {others:,} near duplicates are less than half like the document that "
                f"stays; the largest group has {groups['largest']:,}. `dedup.near.least` keeps what is too unlike."
            )
    return found


def _unlike(groups: dict[str, Any]) -> int:
    return sum(count for tenth, count in groups["like"].items() if tenth < _HALF)


def _range(size: int) -> str:
    """The sizes between two powers of two to which a size belongs: `2`, `3 to 4`, `5 to 8`."""
    last = 1 << (size - 1).bit_length()
    return "2" if last == 2 else f"{last // 2 + 1:,} to {last:,}"
