"""No circle of imports between modules, nor between the folders of any level; imports inside functions count too."""

from collections.abc import Iterable, Mapping

import grimp
import pytest

from puna.data.table import READERS, RULES

ROOT = "puna"


def edges_of(graph: grimp.ImportGraph) -> dict[str, set[str]]:
    """What each module imports; what the table of rules and readers names counts as imported there."""
    edges = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    edges["puna.data.table"] |= {place.partition(":")[0] for own in (RULES, READERS) for place in own.values()}
    return edges


def among_siblings(edges: Mapping[str, Iterable[str]], package: str) -> dict[str, set[str]]:
    """What the modules and folders directly in a package import of each other, with all that lies below them."""
    depth = package.count(".") + 2
    found: dict[str, set[str]] = {}
    for importer, imported in edges.items():
        for other in imported:
            ends = [".".join(name.split(".")[:depth]) for name in (importer, other)]
            if ends[0] != ends[1] and all(end.startswith(f"{package}.") for end in ends):
                found.setdefault(ends[0], set()).add(ends[1])
    return found


def circle(edges: Mapping[str, Iterable[str]]) -> list[str]:
    """A circle of imports, the first name again at its end; empty where there is none."""
    finished: set[str] = set()
    for start in sorted(edges):
        path, stack = [], [iter([start])]
        while stack:
            name = next(stack[-1], None)
            if name is None:
                stack.pop()
                if path:
                    finished.add(path.pop())
            elif name in path:
                return [*path[path.index(name) :], name]
            elif name not in finished:
                path.append(name)
                stack.append(iter(sorted(edges.get(name, ()))))
    return []


@pytest.fixture(scope="module")
def edges() -> dict[str, set[str]]:
    return edges_of(grimp.build_graph(ROOT, cache_dir=None))


def packages(edges: Mapping[str, Iterable[str]]) -> list[str]:
    return sorted({name.rpartition(".")[0] for name in edges if "." in name})


def test_no_module_imports_itself_by_way_of_others(edges: dict[str, set[str]]):
    assert circle(edges) == []


def test_no_folder_imports_itself_by_way_of_its_siblings(edges: dict[str, set[str]]):
    circles = {package: circle(among_siblings(edges, package)) for package in packages(edges)}
    assert {package: found for package, found in circles.items() if found} == {}
    assert {"puna", "puna.data", "puna.data.stages", "puna.formats.gguf"} <= circles.keys()


def test_a_circle_of_modules_would_be_found(edges: dict[str, set[str]]):
    """The check can fail: here the errors that every module uses import the command line."""
    assert "puna.core.errors" in circle(edges | {"puna.core.errors": {"puna.cli.app"}})


def test_a_circle_of_folders_would_be_found_where_no_module_is_in_one(edges: dict[str, set[str]]):
    """A module that nobody imports, in the lowest folder, imports one from the highest."""
    above = edges | {"puna.core.new": {"puna.cli.app"}}
    assert circle(above) == []
    assert "puna.core" in circle(among_siblings(above, "puna"))


def test_imports_inside_functions_count(edges: dict[str, set[str]]):
    assert "puna.data.stages.build" in edges["puna.api.stages"]
