"""Examples on the disk: the same tokens as the template's, whoever writes them and however often it is killed."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from chats import chat_tokenizer
from tuning import CONTEXT, TEMPLATE, made, pair, recipe_of, talk

from puna.chat.example import Example
from puna.chat.masks import tokens_of
from puna.chat.template import ChatTemplate
from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.finetune import tokens as writing
from puna.finetune.examples import SourceExample
from puna.finetune.rendering import DAY, Outcome, Rendering
from puna.finetune.token_files import Examples, read_manifest
from puna.finetune.tokens import describe, prepare
from puna.tokenizer.tokenizer import Tokenizer

Write = Callable[..., Examples]


@pytest.fixture
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 32 examples."""
    monkeypatch.setattr(writing, "_BATCH", 16)
    monkeypatch.setattr(writing, "PART", 32)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_masks_survive_writing(examples: Examples, given: dict[str, list[SourceExample]], tokenizer: Tokenizer):
    """Of every example that is not cut: the template's ids up to the last one that is learned, with its mask."""
    template = ChatTemplate(TEMPLATE, tokenizer)
    whole = 0
    for number, (one, (document,)) in enumerate(zip(given["train"], examples.read(range(examples.total)), strict=True)):
        assert examples.id(number) == one.id
        expected = tokens_of(template, one.example, now=DAY)
        last = len(expected.learned) - expected.learned[::-1].index(True)
        if last - 1 <= CONTEXT:
            whole += 1
            assert document.ids.tolist() == expected.ids[:last]
            assert document.learned.tolist() == expected.learned[:last]
        assert document.positions == examples.lengths[number] <= CONTEXT
        assert int(document.learned.sum()) == examples.targets[number] > 0
    assert whole > 30


def test_tasks_and_sources_are_kept(examples: Examples, given: dict[str, list[SourceExample]]):
    assert examples.counts == {"talks": 70, "tasks": 50}
    for source in examples.names:
        names, tasks = examples.tasks(source)
        assert [names[task] for task in tasks] == [one.example.task for one in given["train"] if one.source == source]
    assert examples.source(np.array([0, 69, 70, 119])).tolist() == [0, 0, 1, 1]


def test_what_is_dropped_or_cut_is_counted(write: Write, tmp_path: Path):
    given = [
        SourceExample("talks", "good", talk("Hello", "Hi.")),
        SourceExample("talks", "no answer", talk("Hello")),
        SourceExample("talks", "control token", talk("Hello <s", "Hi.")),
        SourceExample("talks", "long answer", talk("Hello", "the capital " * 99)),
        SourceExample("talks", "long question", talk("the capital " * 99, "Hi.")),
    ]
    examples = write(recipe_of({"talks": 1.0}), {"train": given})
    assert [examples.id(number) for number in range(examples.total)] == ["good", "control token", "long question"]
    manifest = read_manifest(tmp_path / "examples")
    (part,) = manifest.parts
    assert part.dropped == {"nothing_to_learn": 1, "too_long": 1}
    assert part.cut["examples"] == 1
    assert (part.read, part.examples) == (5, 3)
    lines = "\n".join(describe(manifest))
    assert "1 example dropped: none of their tokens would be learned" in lines
    assert "1 example cut from the left" in lines


def test_examples_that_the_template_refuses_are_counted_and_the_first_one_is_told(tokenizer: Tokenizer, tmp_path: Path):
    refusing = "{% if messages[0]['content'] == 'no' %}{{ raise_exception('not this') }}{% endif %}" + TEMPLATE
    given = [SourceExample("talks", "first", talk("no", "Hi.")), SourceExample("talks", "second", talk("yes", "Hi."))]
    recipe = recipe_of({"talks": 1.0})
    manifest = prepare(
        recipe, refusing, tokenizer, lambda split: given if split == "train" else [], tmp_path / "x", data="h"
    )
    (part,) = manifest.parts
    assert part.dropped == {"refused": 1}
    assert part.refused.startswith("first: ")
    assert "not this" in part.refused


def test_nothing_to_learn_from_ends_in_a_sentence(write: Write):
    recipe = recipe_of({"talks": 1.0})
    with pytest.raises(DataError, match=r"none of the 2 examples can be learned from: 2: none of their tokens"):
        write(recipe, {"train": [SourceExample("talks", "a", talk("Hello")), SourceExample("talks", "b", talk("Hi"))]})
    with pytest.raises(DataError, match="there are no examples to train on"):
        write(recipe, {})


def test_pairs_and_conversations_are_not_taken_for_each_other(write: Write):
    pairs = recipe_of({"talks": 1.0}, preference={})
    with pytest.raises(DataError, match="an example is a conversation, but the recipe learns from pairs"):
        write(pairs, {"train": [SourceExample("talks", "a", talk("Hello", "Hi."))]})
    with pytest.raises(DataError, match="an example is a pair of answers, but the recipe learns from conversations"):
        write(recipe_of({"talks": 1.0}), {"train": [SourceExample("talks", "a", pair("Hello", "Hi.", "No."))]})
    examples = write(pairs, {"train": [SourceExample("talks", "a", pair("Hello", "Hi.", "the"))]})
    (documents,) = examples.read([0])
    assert len(documents) == 2
    assert examples.lengths.tolist() == [sum(document.positions for document in documents)]


@pytest.mark.usefixtures("short_parts")
def test_processes_write_the_same_files(
    recipe: Recipe, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writing, "_FEW", 16)
    given = {"train": [*made("talks", 100, 1), *made("tasks", 50, 2)], "heldout": made("tasks", 20, 3)}
    for workers in (1, 2):
        prepare(
            recipe, TEMPLATE, tokenizer, lambda split: given[split], tmp_path / str(workers), data="h", workers=workers
        )
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert len(read_manifest(tmp_path / "1").parts) == 4 + 2 + 1


@pytest.mark.usefixtures("short_parts")
def test_a_writer_that_was_interrupted_goes_on_behind_its_last_whole_part(
    recipe: Recipe, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given = {"train": [*made("talks", 100, 1), *made("tasks", 50, 2)], "heldout": made("tasks", 20, 3)}

    def until(last: int) -> Callable[[str], Iterator[SourceExample]]:
        def examples(split: str) -> Iterator[SourceExample]:
            for number, one in enumerate(given[split]):
                if split == "train" and number == last:
                    raise KeyboardInterrupt
                yield one

        return examples

    written: list[str] = []
    render = Rendering.write_each

    def write_each(self: Rendering, examples: list[Example]) -> list[Outcome]:
        written.extend(example.text for example in examples)
        return render(self, examples)

    monkeypatch.setattr(Rendering, "write_each", write_each)
    monkeypatch.setattr(writing, "_FEW", 16)
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    for last in (40, 90):
        with pytest.raises(KeyboardInterrupt):
            prepare(recipe, TEMPLATE, tokenizer, until(last), broken, data="h", workers=1)
        with pytest.raises(DataError, match="the run's examples are not written"):
            read_manifest(broken)
    assert sorted(path.name for path in broken.glob("*.json")) == [
        "settings.json",
        "train-00000.json",
        "train-00001.json",
    ]
    assert not list(broken.glob(".tmp*"))
    written.clear()
    manifest = prepare(recipe, TEMPLATE, tokenizer, until(-1), broken, data="h", workers=1)
    assert written == [one.example.text for one in [*given["train"][64:], *given["heldout"]]]
    written.clear()
    assert prepare(recipe, TEMPLATE, tokenizer, until(0), broken, data="h") == manifest
    assert written == []
    prepare(recipe, TEMPLATE, tokenizer, until(-1), whole, data="h")
    assert contents(broken) == contents(whole)


@pytest.mark.usefixtures("short_parts")
def test_other_settings_write_everything_again(write: Write, given: dict[str, list[SourceExample]], tmp_path: Path):
    shares = {"talks": 70.0, "tasks": 50.0}
    before = write(recipe_of(shares), given).targets.sum()
    assert write(recipe_of(shares, learn="everything"), given).targets.sum() > before
    assert write(recipe_of(shares, learn="last-answer"), given).targets.sum() < before
    assert write(recipe_of(shares, max_answer_tokens=5), given).total < 120
    assert len(list((tmp_path / "examples").glob("train-*.json"))) == 3 + 2


KILLED = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from chats import chat_tokenizer
from tuning import TEMPLATE, made, recipe_of

from puna.finetune import tokens

tokens._FEW, tokens._BATCH, tokens.PART = 16, 16, 32


def examples(split):
    for number, one in enumerate(made("talks", 100, 1) if split == "train" else []):
        if number == 90 and len(sys.argv) == 4:
            print("reached", flush=True)
            sys.stdin.read()
        yield one


if __name__ == "__main__":
    out = Path(sys.argv[2])
    tokens.prepare(
        recipe_of({"talks": 1.0}), TEMPLATE, chat_tokenizer(add_bos=True), examples, out, data="h", workers=2
    )
"""


@pytest.mark.usefixtures("short_parts")
def test_a_writer_that_is_killed_leaves_no_process_behind_and_its_successor_writes_the_same(tmp_path: Path):
    """Its workers have its output, which ends only when the last of them has ended."""
    script, fixtures = tmp_path / "killed.py", str(Path(__file__).parents[1] / "fixtures")
    script.write_text(KILLED)
    command = [sys.executable, str(script), fixtures, str(tmp_path / "broken")]
    with subprocess.Popen([*command, "waits"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reached\n"
        process.kill()
        assert process.stdout.read() == b""
    subprocess.run(command, check=True, timeout=300, stdin=subprocess.DEVNULL)
    prepare(
        recipe_of({"talks": 1.0}), TEMPLATE, chat_tokenizer(add_bos=True),
        lambda split: made("talks", 100, 1) if split == "train" else [], tmp_path / "whole", data="h",
    )  # fmt: skip
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
