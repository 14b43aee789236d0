"""`build_data` as a user meets it: what is skipped, refused, replaced."""

import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from puna.config.load import load_recipe, save_recipe
from puna.config.recipe import Recipe, TokenizerConfig
from puna.core.errors import DataError, StorageError, TokenizerError
from puna.core.files import remove, sha256_bytes, sha256_file
from puna.core.layout import DataDir
from puna.core.lock import DirectoryLock
from puna.core.records import read_record
from puna.data.stages import build as data
from puna.data.stages import plan, read
from puna.data.stages.build import build_data, train_tokenizer
from puna.tokenizer.tokenizer import Tokenizer


@pytest.fixture
def small(recipe: Recipe, shelf: Path) -> Recipe:
    """The shelf, with a little more text than its tokenizer needs."""
    for number in range(12):
        (shelf / "code" / f"more{number}.py").write_text(f"def f{number}(x):\n    return [x ** {number}, '{number}']\n")
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"vocab_size": 320})})


@pytest.fixture
def built(small: Recipe, out: DataDir) -> DataDir:
    build_data(small, out, force=False)
    return out


def _inodes(out: DataDir) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in (out.documents, out.tokenizer)} | {
        path.parent.as_posix(): path.parent.stat().st_ino for path in out.shards.rglob("manifest.json")
    }


def test_a_build_has_everything_and_is_skipped_when_it_is_there(small: Recipe, built: DataDir, capsys):
    for path in (
        built.card,
        built.card.with_suffix(".md"),
        built.card.with_suffix(".html"),
        built.config,
        built.record,
    ):
        assert path.is_file()
    before = _inodes(built)
    build_data(small, built, force=False)
    assert "token shards built already" in capsys.readouterr().err
    assert _inodes(built) == before


def test_force_deletes_a_build_with_the_same_values_and_makes_the_same_again(
    small: Recipe, built: DataDir, hashes, capsys: pytest.CaptureFixture[str]
):
    def content() -> dict[str, str]:
        return {name: digest for name, digest in hashes(built.root).items() if not name.startswith("card.")}

    before = content()
    (built.root / "mine.txt").write_text("stays")
    for directory in (built.documents, built.tokenizer, built.shards, built.work):
        (directory / "older").write_text("goes")
    build_data(small, built, force=True)
    assert "deleting it and building it again" in capsys.readouterr().err
    assert content() == before | {"mine.txt": sha256_bytes(b"stays")}


def test_a_forced_build_that_was_interrupted_goes_on(small: Recipe, built: DataDir, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(data, "tokenize_documents", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_data(small, built, force=True)
    assert not built.record.exists()
    before = built.documents.stat().st_ino
    build_data(small, built, force=True)
    assert built.record.exists()
    assert built.documents.stat().st_ino == before


def test_force_trains_a_tokenizer_again(small: Recipe, built: DataDir):
    before = _inodes(built), sha256_file(built.tokenizer / "tokenizer.json")
    train_tokenizer(small, built, force=True)
    after = _inodes(built)
    assert after.pop("tokenizer") != before[0].pop("tokenizer")
    assert (after, sha256_file(built.tokenizer / "tokenizer.json")) == before
    build_data(small, built, force=False)
    assert _inodes(built).items() >= after.items()


def test_other_values_are_refused_by_name_and_replaced_only_by_force(small: Recipe, built: DataDir, changed):
    other = changed(small, sources__poems__clean=["pii"])
    with pytest.raises(DataError, match=r"documents: was built with other values: sources.poems.clean: \[\] ->"):
        build_data(other, built, force=False)
    before = _inodes(built)
    build_data(other, built, force=True)
    assert _inodes(built)["documents"] != before["documents"]
    record = read_record(built.documents / "record.json")
    assert record is not None
    assert record["config"]["sources"]["poems"]["clean"] == ["pii"]


def test_what_is_there_stays_until_its_successor_is_complete(small: Recipe, built: DataDir, changed, monkeypatch):
    before = sha256_file(built.documents / "files.json")

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(plan, "assemble_documents", fail)
    with pytest.raises(KeyboardInterrupt):
        build_data(changed(small, sources__poems__clean=["pii"]), built, force=True)
    assert sha256_file(built.documents / "files.json") == before


def test_a_changed_input_file_is_noticed(small: Recipe, built: DataDir, shelf: Path, capsys):
    before = _inodes(built)
    (shelf / "poems" / "read" / "01.txt").write_text("Little Lamb who made thee\n" * 8)
    build_data(small, built, force=False)
    assert "input files have changed since; building it again" in capsys.readouterr().err
    assert _inodes(built)["documents"] != before["documents"]
    unchanged = [name for name, inode in _inodes(built).items() if before[name] == inode]
    assert unchanged == []  # the tokenizer is another one


def test_a_build_without_its_sources_is_taken_as_it_is(small: Recipe, built: DataDir, shelf: Path, capsys):
    before = _inodes(built)
    shelf.rename(shelf.with_name("elsewhere"))
    build_data(small, built, force=False)
    assert "cannot be compared with the sources" in capsys.readouterr().err
    assert _inodes(built) == before


def test_a_build_without_its_intermediate_results_is_complete(small: Recipe, built: DataDir):
    import shutil

    before = _inodes(built)
    shutil.rmtree(built.work)
    build_data(small, built, force=False)
    assert _inodes(built) == before
    bigger = small.model_copy(update={"data": small.data.model_copy(update={"shard_tokens": 10**6})})
    build_data(bigger, built, force=True)
    after = _inodes(built)
    assert (after["documents"], after["tokenizer"]) == (before["documents"], before["tokenizer"])
    assert read_record(built.record)["config"]["shard_tokens"] == 10**6


@pytest.mark.parametrize(
    "lost",
    [
        "shards", "shards/code", "shards/code/train/tokens-00000.bin", "shards/code/train/manifest.json", "documents",
        "documents/code/train/00000.jsonl.zst", "documents/code/dropped", "tokenizer", "card.md", "card.html", "work",
    ],
)  # fmt: skip
def test_what_was_deleted_is_made_again_as_it_was(small: Recipe, built: DataDir, hashes, lost: str):
    def made() -> dict[str, str]:
        return {name: digest for name, digest in hashes(built.root).items() if not name.startswith((".lock", "work/"))}

    before = made()
    remove(built.root / lost)
    build_data(small, built, force=False)
    assert made() == before


def test_shards_that_were_damaged_where_they_lie_are_not_taken_from_their_second_name(
    small: Recipe, built: DataDir, hashes
):
    before = hashes(built.shards)
    path = built.shards / "code" / "train" / "tokens-00000.bin"
    path.write_bytes(path.read_bytes()[:-2])  # the file of the task, too
    build_data(small, built, force=False)
    assert hashes(built.shards) == before


def test_a_changed_list_of_bad_words_is_noticed(small: Recipe, out: DataDir, tmp_path: Path, changed, capsys):
    words = tmp_path / "bad.txt"
    words.write_text("unheard\n")
    rules = changed(small, sources__poems__clean=["c4"], rules__c4__bad_words=str(words), rules__c4__min_sentences=0)
    rules = changed(rules, rules__c4__min_words_per_line=1, rules__c4__terminal_punctuation=False)
    build_data(rules, out, force=False)
    words.write_text("poem 3\n")
    build_data(rules, out, force=False)
    assert "building it again" in capsys.readouterr().err
    record = read_record(out.documents / "record.json")
    assert record is not None
    assert record["results"]["poems"]["steps"]["c4"]["dropped"]["c4.bad_word"]["documents"] == 1


def test_another_licence_reads_nothing_again_and_stands_on_the_card(
    small: Recipe, built: DataDir, changed, monkeypatch
):
    monkeypatch.setattr(read, "make_reader", None)
    build_data(changed(small, sources__code__licence="CC0-1.0"), built, force=True)
    record = read_record(built.documents / "record.json")
    assert record is not None
    assert set(record["results"]["code"]["licences"]) == {"CC0-1.0"}


def test_what_tasks_of_earlier_recipes_have_left_goes(small: Recipe, out: DataDir, shelf: Path, changed):
    for number, path in enumerate(sorted((shelf / "poems").rglob("*.txt"))):
        path.write_text(path.read_text() + "A line of its own: " + "la" * number)
    build_data(small, built := out, force=False)

    def tasks() -> set[str]:
        return {path.parent.relative_to(built.work).as_posix() for path in built.work.rglob("task.json")}

    before = tasks()
    other = changed(small, sources__poems__clean=["lines"], rules__lines__min_chars=0, dedup__near__sources=["poems"])
    build_data(other, built, force=True)
    assert {path.partition("/")[0] for path in tasks() - before} >= {"lines", "clean", "near", "finish", "tokenize"}
    build_data(small, built, force=True)
    assert tasks() == before


def test_another_mixture_needs_no_new_build(small: Recipe, built: DataDir):
    before = _inodes(built)
    build_data(small.model_copy(update={"mixture": {"poems": 1.0, "code": 3.0}}), built, force=False)
    assert _inodes(built) == before


def test_two_builds_at_once_in_one_directory_are_refused(small: Recipe, out: DataDir):
    with DirectoryLock(out.root), pytest.raises(StorageError, match="another process is at work here"):
        build_data(small, out, force=False)


def test_the_tokenizer_alone_needs_the_documents_alone(small: Recipe, out: DataDir):
    train_tokenizer(small, out, force=False)
    assert (out.tokenizer / "tokenizer.model").is_file()
    assert not out.shards.exists()


def test_an_interrupted_build_has_no_record(small: Recipe, out: DataDir, monkeypatch: pytest.MonkeyPatch):
    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "finish_build", fail)
    with pytest.raises(KeyboardInterrupt):
        build_data(small, out, force=False)
    assert not out.record.exists()
    monkeypatch.undo()
    build_data(small, out, force=False)
    assert out.record.exists()


@pytest.fixture
def named(small: Recipe, tmp_path: Path, tokenizer: Tokenizer) -> Recipe:
    """The shelf with an existing tokenizer of 330 tokens, in a model of 336 rows."""
    place = tmp_path / "kept" / "tokenizer.model"
    place.parent.mkdir()
    place.write_bytes(tokenizer.content)
    return small.model_copy(
        update={
            "tokenizer": TokenizerConfig.model_validate({"from": str(place)}),
            "model": small.model.model_copy(update={"vocab_size": 336}),
        }
    )


def test_a_named_tokenizer_is_taken_as_it_is_and_the_record_and_the_card_say_so(
    named: Recipe, out: DataDir, tokenizer: Tokenizer, capsys
):
    build_data(named, out, force=False)
    assert "SentencePiece BPE of 330 tokens, taken from" in capsys.readouterr().err
    assert (out.tokenizer / "tokenizer.model").read_bytes() == tokenizer.content
    record = read_record(out.tokenizer / "record.json")
    assert record is not None
    assert record["results"]["taken_from"] == "tokenizer.model"
    assert "It was taken as it was" in out.card.with_suffix(".md").read_text()
    assert '"text": {}' in out.card.read_text()
    before = _inodes(out)
    build_data(named, out, force=False)
    assert "tokenizer taken already" in capsys.readouterr().err
    assert _inodes(out) == before


def test_a_build_whose_named_tokenizer_has_gone_is_taken_as_it_is(named: Recipe, out: DataDir, capsys):
    build_data(named, out, force=False)
    before = _inodes(out)
    Path(named.tokenizer.taken_from or "").unlink()
    build_data(named, out, force=False)
    assert "which is not there; taken as it is" in capsys.readouterr().err
    assert _inodes(out) == before


def test_another_tokenizer_is_refused_by_its_hash_and_replaced_by_force(
    named: Recipe, small: Recipe, out: DataDir, byte_tokenizer: Tokenizer
):
    build_data(small, out, force=False)
    with pytest.raises(DataError, match=r"tokenizer: was built with other values: .*from.sha256: null -> "):
        build_data(named, out, force=False)
    build_data(named, out, force=True)
    Path(named.tokenizer.taken_from or "").write_bytes(byte_tokenizer.content)
    with pytest.raises(DataError, match=r'from.kind: "sentencepiece" -> "byte-bpe"'):
        build_data(named, out, force=False)


def test_a_named_tokenizer_with_more_tokens_than_rows_is_refused_before_anything_is_read(named: Recipe, out: DataDir):
    less = named.model_copy(update={"model": named.model.model_copy(update={"vocab_size": 329})})
    with pytest.raises(TokenizerError, match=r"has 330 tokens, but model.vocab_size = 329"):
        build_data(less, out, force=False)
    assert not out.documents.exists()


def test_a_build_is_the_same_from_every_folder_and_its_own_config_builds_it_too(
    small: Recipe, shelf: Path, tmp_path: Path, monkeypatch, capsys
):
    recipe, out = tmp_path / "recipes" / "mine.toml", DataDir(tmp_path / "data" / "mine")
    recipe.parent.mkdir()
    save_recipe(small, recipe)
    recipe.write_text(recipe.read_text().replace(f'"{shelf}', '"../shelf'))
    for folder, name, build in (
        (tmp_path, "recipes/mine.toml", "data/mine"),
        (recipe.parent, "mine.toml", "../data/mine"),
        (shelf, str(recipe), str(out)),
        (tmp_path, "data/mine/config.toml", "data/mine"),
    ):
        monkeypatch.chdir(folder)
        build_data(load_recipe(name).recipe, DataDir(Path(build)), force=False)
    assert capsys.readouterr().err.count("token shards built already") == 3
    for path in (out.config, out.record, out.card, out.documents / "record.json"):
        told = json.loads(path.read_text()) if path.suffix == ".json" else {"": path.read_text()}
        assert str(tmp_path) not in json.dumps({key: value for key, value in told.items() if key != "command"}), path
