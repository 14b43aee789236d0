"""The shelf's documents, what looks into a build, and finished tasks to put a stage of its own behind."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from builds import changed, hashes, lines

from puna.config.recipe import Recipe
from puna.core.layout import DataDir
from puna.data.stages.plan import plan_documents
from puna.data.stages.read import Read
from puna.data.tasks.counts import Counts
from puna.data.tasks.task import Progress, Task

__all__ = ["changed", "hashes", "lines"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Wrote(Task):
    """A task that writes what it is told to, as one of an earlier stage would have."""

    name: str
    write: Callable[["Wrote"], Counts]
    reason: str = ""
    """Why documents go, where it has found some."""

    stage: ClassVar[str] = "wrote"
    input_bytes = 1000

    @property
    def made_from(self) -> str:
        return self.name

    def work_on(self, progress: Progress) -> Counts:
        return self.write(self)


@pytest.fixture
def wrote(tmp_path: Path) -> Callable[..., Wrote]:
    """Makes finished tasks: `wrote(name, write)`."""

    def make(name: str, write: Callable[[Wrote], Counts], **fields: Any) -> Wrote:
        task = Wrote(work=tmp_path / "work", name=name, write=write, **fields)
        task.run()
        assert task.is_done
        return task

    return make


@pytest.fixture
def read_texts(tmp_path: Path) -> Callable[..., list[Read]]:
    """Reads texts as a build would: `read_texts({"a": {"1.jsonl": ["text", …]}}, chunk_bytes=1)`.

    A source's documents are lines of its files; those of files called `held…` are held out. Further keywords are values
    of the data section, `licence` and `clean` those of every source.
    """

    def read(texts: dict[str, dict[str, list[str]]], **settings: Any) -> list[Read]:
        sources: dict[str, Any] = {}
        of_source = {name: settings.pop(name) for name in ("licence", "clean") if name in settings}
        for source, files in texts.items():
            for name, texts_of_file in files.items():
                path = tmp_path / "in" / source / name
                path.parent.mkdir(parents=True, exist_ok=True)
                content = "".join(json.dumps({"text": line}) + "\n" for line in texts_of_file)
                if not path.exists() or path.read_text() != content:  # another time would make it another input
                    path.write_text(content)
            sources[source] = {
                "path": str(tmp_path / "in" / source), "include": ["*.jsonl"], "format": "jsonl",
                "heldout_pattern": "^held",
            } | of_source  # fmt: skip
        mixture = dict.fromkeys(sources, 1.0)
        recipe = Recipe.model_validate({"name": "texts", "data": {"sources": sources} | settings, "mixture": mixture})
        reads: list[Read] = []
        for stage in plan_documents(recipe, DataDir(tmp_path / "data")).stages:
            reads += (of_stage := [task for task in stage if isinstance(task, Read)])
            for task in of_stage if reads else stage:
                task.run()
                assert task.failure() is None
        return reads

    return read
