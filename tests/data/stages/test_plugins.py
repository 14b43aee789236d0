"""Whole builds with a rule and a reader of another package, and how a package that is not right is refused."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from plugins import SHOUTING, Install, install

from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.core.errors import DataError, UserError
from puna.core.layout import DataDir
from puna.core.records import read_record
from puna.data.inspect import about
from puna.data.stages.build import build_data
from puna.data.stages.plan import build_documents, plan_documents
from puna.data.tasks import executors

__all__ = ["install"]


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    """A recipe of songs, quiet and loud ones."""
    folder = tmp_path / "songs"
    folder.mkdir()
    for number in range(30):
        verses = [f"Song {number} of the sea and of the {word}." for word in ("moon", "wind", "hills", "rain")]
        (folder / f"{number:02}.song").write_text("\n\n".join([*verses, f"HEY HO {number}", "la la la", ""]))
    path = tmp_path / "songs.toml"
    path.write_text(f"""
name = "songs"
mixture.songs = 1.0
data.chunk_bytes = 200
data.task_bytes = 500
data.keep_dropped = true
data.rules.no_shouting.mark = "~"
[data.sources.songs]
path = "{folder}"
include = ["*.song"]
format = "song"
clean = ["no-shouting"]
licence = "CC0"
heldout_fraction = 0.3
[model]
dim = 32
n_layers = 1
n_heads = 2
n_kv_heads = 2
ffn_dim = 64
vocab_size = 320
context = 16
[train]
tokens = 10240
batch_tokens = 1024
micro_batch_tokens = 1024
[optim]
warmup_steps = 1
""")
    return path


def recipe_of(toml: Path) -> Recipe:
    return load_recipe(str(toml)).recipe


def test_a_whole_build_reads_judges_and_records_with_plugins(toml: Path, install: Install, out: DataDir, lines):
    install()
    build_data(recipe_of(toml), out, force=False)
    texts = [line["text"] for split in ("train", "heldout") for line in lines("songs", split)]
    assert len(texts) == 120
    assert all(text.startswith("Song ") and text.endswith(".~") for text in texts)
    reasons = [line["reason"] for line in lines("songs", "dropped")]
    assert {reason: reasons.count(reason) for reason in reasons} == {
        "song.refrain": 30, "no-shouting.loud": 30, "empty": 30,
    }  # fmt: skip
    for record in (out.documents / "record.json", out.record):
        found = read_record(record)
        assert found is not None
        assert found["inputs"]["rules.no-shouting"] == found["inputs"]["readers.song"] == "shouting 1.0"
        assert found["config"]["plugins"]["rules"] == {"no-shouting": "shouting 1.0"}
    card = json.loads(out.card.read_text())
    assert card["reasons"]["no-shouting.loud"] == "Too many of its letters are capitals."
    assert card["reasons"]["song.refrain"] == "Nothing but la."
    assert card["rules"]["no-shouting"]["about"] == "Documents in capital letters."
    assert {row["name"]: row["value"] for row in card["rules"]["no-shouting"]["thresholds"]} == {
        "most_capitals": 0.5, "mark": "~",
    }  # fmt: skip
    assert recipe_of(out.config).data == recipe_of(toml).data


def test_what_plugins_say_is_lost_is_on_the_card_and_the_same_however_the_task_is_cut(
    toml: Path, install: Install, out: DataDir, tmp_path: Path, hashes
):
    lossy = SHOUTING.replace("import EMPTY", "import EMPTY, Lost")
    for old, new in [
        ("for number, verse in", 'yield Lost("song.noise", bytes=9)\n            for number, verse in'),
        (
            "Document(self.name, raw.id, text, raw.id) if",
            'Document(self.name, raw.id, text, "", lost=(Lost("song.noise", 2),)) if',
        ),
        ("text=document.text + self.settings.mark", 'text=document.text + "~", lost=(Lost("no-shouting.mark"),)'),
        ('"Nothing but la."', '"Nothing but la.", "song.noise": "Not sung."'),
        ('letters are capitals."', 'letters are capitals.", "no-shouting.mark": "Not said."'),
    ]:
        assert old in lossy
        lossy = lossy.replace(old, new)
    install(source=lossy)
    recipe = recipe_of(toml)
    build_documents(recipe, out)
    record = read_record(out.documents / "record.json")
    assert record is not None
    assert record["results"]["songs"]["lost"] == {
        "song.noise": {"documents": 150, "parts": 330, "bytes": 270},
        "no-shouting.mark": {"documents": 120, "parts": 120, "bytes": 0},
    }
    other = DataDir(tmp_path / "other")
    limits = {"chunk_bytes": 10**6, "task_bytes": 10**6}
    build_documents(recipe.model_copy(update={"data": recipe.data.model_copy(update=limits)}), other)
    again = read_record(other.documents / "record.json")
    assert again is not None
    assert again["results"] == record["results"]


def test_workers_of_this_machine_see_plugins_and_make_the_same_bytes(
    toml: Path, install: Install, out: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashes
):
    install()
    build_documents(recipe_of(toml), out, workers=1)
    monkeypatch.setattr(executors, "_SMALL_BYTES", 0)
    other = DataDir(tmp_path / "other")
    build_documents(recipe_of(toml), other, workers=2)
    assert hashes(other.documents) == hashes(out.documents)


def test_another_version_of_a_plugin_makes_other_tasks(toml: Path, install: Install, out: DataDir):
    def fingerprints() -> set[str]:
        return {task.fingerprint for task in plan_documents(recipe_of(toml), out).finish}

    shutil.rmtree(install())
    install(version="1.1")
    newer = fingerprints()
    shutil.rmtree(install(version="1.1.1").parent / "shouting-1.1.dist-info")
    assert not newer & fingerprints()


def test_a_recipe_that_was_resolved_with_another_version_is_refused(toml: Path, install: Install, out: DataDir):
    info = install()
    recipe = recipe_of(toml)
    shutil.rmtree(info)
    with pytest.raises(DataError, match="'no-shouting', which is not installed here"):
        plan_documents(recipe, out)
    install(version="2.0")
    sentence = "data.plugins.rules.no-shouting: the recipe was resolved with shouting 1.0, here is shouting 2.0"
    with pytest.raises(DataError, match=re.escape(sentence)):
        plan_documents(recipe, out)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (('"no-shouting.loud",', '"no-shouting.big",'), "songs/.*#4 for 'no-shouting.big', which nothing explains"),
        (('"song.refrain", ""', '"refrain", ""'), "dropped songs/.*#5 for 'refrain', which nothing explains"),
        (('"no-shouting.loud": "', '"loud": "'), "its reason 'loud' should begin with 'no-shouting.'"),
        (('name="no-shouting"', 'name="quiet"'), "it is called 'quiet' itself"),
        (("self.settings = settings", "raise OSError('no ear')"), "cannot be made: OSError: no ear"),
        (("READER = ReaderSpec(", "READER = dict("), "it should be a ReaderSpec, not a dict"),
    ],
)  # fmt: skip
def test_a_plugin_that_is_not_right_is_one_sentence(
    toml: Path, install: Install, out: DataDir, change: tuple[str, str], sentence: str
):
    source = SHOUTING.replace(*change)
    assert source != SHOUTING
    install(source=source)
    with pytest.raises(UserError, match=sentence) as caught:
        build_documents(recipe_of(toml), out)
    assert "\n" not in caught.value.message


def test_a_plugin_with_a_name_of_punas_own_is_refused(toml: Path, install: Install, out: DataDir):
    install(
        points={
            "puna.rules": {"no-shouting": "shouting:RULE", "c4": "shouting:RULE"},
            "puna.readers": {"song": "shouting:READER"},
        }
    )
    assert plan_documents(recipe_of(toml), out).finish  # nobody asks for c4
    toml.write_text(toml.read_text().replace('["no-shouting"]', '["no-shouting", "c4"]'))
    with pytest.raises(
        DataError, match=r"puna\.rules: 'c4' of the distribution 'shouting' has the name of one of Puna's own"
    ):
        plan_documents(recipe_of(toml), out)


def test_settings_that_nobody_could_check_before_are_checked_by_the_build(toml: Path, install: Install, out: DataDir):
    pins = '[data.plugins]\nrules.no-shouting = "shouting 1.0"\nreaders.song = "shouting 1.0"\n[data.sources.songs]'
    toml.write_text(toml.read_text().replace("[data.sources.songs]", pins).replace('mark = "~"', "mark = 3"))
    recipe = recipe_of(toml)
    install()
    with pytest.raises(DataError, match=r"data\.rules\.no_shouting\.mark: is not valid for puna\.rules: 'no-shouting'"):
        plan_documents(recipe, out)


def test_a_rule_that_returns_nothing_costs_the_documents_and_says_so(toml: Path, install: Install, out: DataDir):
    install(source=SHOUTING.replace("return replace(", "replace("))
    with pytest.raises(DataError, match=r"no document is left.*'rule.failed'"):
        build_documents(recipe_of(toml), out)


def test_what_was_dropped_is_explained_only_where_the_plugin_is_there(install: Install):
    from puna.data.document import Dropped
    from puna.data.reasons import UNKNOWN

    dropped = Dropped("songs", "a", "no-shouting.loud", "0.90")
    assert about(dropped) == [f"no-shouting.loud: {UNKNOWN}", "0.90"]
    info = install()
    assert about(dropped) == ["no-shouting.loud: Too many of its letters are capitals.", "0.90"]
    (info.parent / "shouting.py").write_text("import no_such_library")
    sys.modules.pop("shouting")
    assert about(dropped) == [f"no-shouting.loud: {UNKNOWN}", "0.90"]


def test_a_script_with_a_rule_of_its_own_builds_with_workers(toml: Path, tmp_path: Path):
    """Workers of this machine import the script again; those of a cluster need a package: tasks/test_executors.py."""
    toml.write_text(toml.read_text().replace('format = "song"', 'format = "text"'))
    script = tmp_path / "script.py"
    script.write_text(
        SHOUTING
        + f"""
from pathlib import Path
from puna.config.load import load_recipe
from puna.core.layout import DataDir
from puna.data.stages.plan import build_documents
from puna.data.table import add_rule
from puna.data.tasks import executors

add_rule(RULE)
executors._SMALL_BYTES = 0
if __name__ == "__main__":
    recipe = load_recipe({str(toml)!r}).recipe
    print(recipe.data.plugins.rules["no-shouting"])
    build_documents(recipe, DataDir(Path({str(tmp_path / "out")!r})), workers=2)
"""
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.startswith("script.py sha256:")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "documents" / "record.json").is_file()
