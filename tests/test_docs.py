"""The documents say what is there: links and paths lead somewhere, quoted errors are the code's, examples run."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
from command_lines import PROGRAMS, commands_in, problem, program

from puna.core.schema.lines import LINES, Line

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "puna"
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
TODAY = [page for page in PAGES if page.parent.name != "decisions" and page.name != "CHANGELOG.md"]
"""Decisions and the changelog speak of their own time."""
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")
TROUBLES = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")

named = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@named
def test_every_link_leads_to_a_file_and_a_heading(page: Path):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if heading:
            assert heading in anchors(file), target


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them in links."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TODAY, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_of_the_tree_that_a_page_names_is_there(page: Path):
    places = "|".join(["src", "tests", "docs", "bench", "launch", "examples", *(folder.name for folder in folders())])
    for path in re.findall(rf"`((?:{places})(?:/[\w.\-]+)+/?)`", page.read_text(encoding="utf-8")):
        example = re.search(r"^data/(demo|mine)\b|(?:\b|_)(NAME|SOURCE|SPLIT|DATE)\b", path)
        assert example or (ROOT / path).exists() or (SOURCE / path).exists(), path
    for name in re.findall(r"`(puna(?:\.[a-z_]\w*)+)`", page.read_text(encoding="utf-8")):
        first, *rest = name.split(".")[1:]
        if rest and (SOURCE / first).is_dir():
            inner = SOURCE.joinpath(first, *rest)
            assert inner.is_dir() or any(place.with_suffix(".py").is_file() for place in (inner, *inner.parents[:2])), (
                name
            )


def folders() -> list[Path]:
    """The layers: folders of the package."""
    return sorted(path.parent for path in SOURCE.glob("*/__init__.py"))


def test_index_names_every_page_once_and_says_what_it_is():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^- \[([^\]]+)\]\(([^)]+)\): \S.*\.$", index, flags=re.MULTILINE)
    listed = [target for _, target in lines if not target.startswith("../")]
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if page != DOCS / "README.md"]
    assert sorted(listed) == sorted(pages)
    assert index.count("\n- ") == len(lines)
    assert "(docs/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """A section of the page on the architecture."""
    return ARCHITECTURE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_layers_of_the_page_are_those_that_are_enforced():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    enforced = [line.split(" | ") for line in contracts[0]["layers"]]
    shown = [line.partition("  ")[0].split(" | ") for line in section("Layers").split("```")[1].strip().splitlines()]
    assert shown == enforced


def test_places_in_the_drawing_are_there():
    drawing = section("The flow of a document and of a step").split("```")[1]
    places = re.findall(r"\b(?:data|shards|train|model|ops|parallel|tokenizer|core)(?:/[a-z_]+)+\b", drawing)
    assert len(places) > 20
    for place in places:
        assert (SOURCE / place).is_dir() or (SOURCE / place).with_suffix(".py").is_file(), place


def test_seven_files_to_read_are_there():
    links = re.findall(r"^\d\. \[`([\w/.]+)`\]\(\.\./src/puna/([\w/.]+)\): ", ARCHITECTURE, flags=re.MULTILINE)
    assert len(links) == 7
    for shown, target in links:
        assert shown == target
        assert (SOURCE / target).is_file()


def test_capabilities_are_in_the_folder_that_is_named():
    rows = re.findall(
        r"^\| [^|]+ \| `([\w/]+)` \| `([\w.]+)` \|$", section("Where do I look for …"), flags=re.MULTILINE
    )
    assert len(rows) == 18
    for folder, file in rows:
        assert (SOURCE / folder / file).is_file(), f"{folder}/{file}"


def test_words_of_the_glossary_have_their_homes():
    rows = re.findall(r"^\| ([\w -]+) \| [^|]+ \| `(\w+)` in `([\w/.]+)` \|$", section("Words"), flags=re.MULTILINE)
    assert len(rows) == section("Words").count("\n| ") - 1
    words = [word for word, _, _ in rows]
    assert words == sorted(words)
    for _, name, file in rows:
        assert name in defined(SOURCE / file), f"{name} in {file}"


def defined(file: Path) -> set[str]:
    """Classes, functions, methods, fields and constants that a module defines."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return names


ELSEWHERE = {
    'python scripts/generate.py --model open_lm.json --checkpoint epoch_0.pt --input-text "The people"': "OpenLM's",
    "puna export RUN --to arrays --packed yes": "of the format that the page adds",
    "puna train demo optim.weigth_decay=0 model.n_heads=5 train.precision=fp8": "shows the errors",
}
"""Commands that are not Puna's own, or not meant to work."""


@pytest.mark.parametrize("page", TODAY, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_one_that_the_command_line_takes(page: Path):
    found = {
        line: said
        for line, mentioned in commands_in(page.read_text(encoding="utf-8"))
        if line not in ELSEWHERE and (said := problem(line, mentioned=mentioned))
    }
    assert found == {}


SCRIPTS = sorted(path for folder in ("launch", "examples") for path in (ROOT / folder).iterdir() if path.is_file())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_command_in_a_script_s_comments_is_one_that_the_command_line_takes(script: Path):
    text = re.sub(r"\\\n#? +", "", script.read_text(encoding="utf-8"))
    shown = re.findall(r"^#? {4,}(.+)$|`([^`\n]+)`|^(python \S+\.py.*)$", text, flags=re.MULTILINE)
    lines = [line for found in shown for line in found if program(line) in PROGRAMS]
    assert {line: said for line in lines if (said := problem(line, mentioned=True))} == {}


def test_every_command_in_a_hint_is_one_that_the_command_line_takes():
    commands = {command for hint in hints() for command in re.findall(r"`(puna [^`]+)`|^(puna [^`]+)$", hint)}
    found = {said for pair in commands for said in pair if said}
    assert len(found) > 5
    assert {command: said for command in found if (said := problem(command, mentioned=True))} == {}


def hints() -> list[str]:
    """What errors tell a user to do, with X for values."""
    found = []
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                for part in ast.walk(node.value):
                    if isinstance(part, ast.JoinedStr):
                        found.append("".join(str(p.value) if isinstance(p, ast.Constant) else "X" for p in part.values))
                    elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                        found.append(part.value)
    return found


def test_commands_that_are_excused_stand_in_a_page():
    shown = {line for page in TODAY for line, _ in commands_in(page.read_text(encoding="utf-8"))}
    assert shown >= ELSEWHERE.keys()
    assert len(shown) > 150


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("puna trane demo", "No such command 'trane'"),
        ("puna train demo --resum", "No such option: --resum"),
        ("puna train demo optim.learning_rate=1", "unknown key 'optim.learning_rate'"),
        ("puna train mine.toml optim.learning_rate=1  # mine", "unknown key 'optim.learning_rate'"),
        ("puna train demmo", "no recipe demmo ships"),
        ("torchrun --nproc-per-node 8 -m puna train llama-7b --resume", "recipe llama-7b has no data"),
        ("torchrun --nproc-per-nod 8 -m puna train demo --nodes", "No such option: --nodes"),
        ("torchrun --nnodes all --nproc-per-node x --node-rank y -m puna train demo", "invalid int value"),
        ("HOME=x sbatch --nodes 4 launch/train.slurm llama-7b", "recipe llama-7b has no data"),
        ("puna generate", "Missing argument 'MODEL'"),
        ("puna plan llama-7b --devices many", "Invalid value for '--devices'"),
        ("puna export runs/demo --to hf --typ Q8_0 | tail", "No such option: --typ"),
        ("python bench/nothing.py --rounds 3", "bench/nothing.py is not there"),
        ("make cake", "no target cake"),
    ],
)
def test_a_command_that_would_fail_is_found(line: str, says: str):
    """The check can fail, in each of its parts."""
    assert says in (problem(line) or "")


@pytest.mark.parametrize(
    ("line", "mentioned"),
    [
        ("puna generate", True),
        ("puna export runs/demo --to", True),
        ("puna data trace RUN --step N", False),
        ("puna plan llama-7b --devices 64", False),
        ("puna train llama-7b --show", False),
        ('puna generate runs/demo "…" --json > out.jsonl', False),
        ("torchrun --nproc-per-node 8 -m puna train …", False),
        ("docker run --rm puna puna --version", False),
        ("git clone <this repository> puna", False),
    ],
)
def test_a_command_that_works_or_is_not_ours_passes(line: str, mentioned: bool):
    assert problem(line, mentioned=mentioned) is None


def test_page_of_the_metrics_has_every_field_of_every_line_and_no_other():
    page = (DOCS / "guide" / "metrics.md").read_text(encoding="utf-8")
    _, every, *sections = re.split(r"^## ", page, flags=re.MULTILINE)
    fields = {
        section.partition("\n")[0].strip("`"): re.findall(r"^\| `(\w+)` \| \S", section, flags=re.MULTILINE)
        for section in sections
    }
    common = list(Line.model_fields)
    assert re.findall(r"^\| `(\w+)` \| \S", every, flags=re.MULTILINE) == ["kind", *common]
    assert fields == {kind: [name for name in line.model_fields if name not in common] for kind, line in LINES.items()}


FIXED = 12
"""Characters that a text must have besides its values: "unknown key " and "out of memory: " have that."""
TROUBLE = re.compile(r"^### (\d+)\. .+\n```(puna|text)\n(.+)\n```\n\S", re.MULTILINE)


def test_errors_are_numbered_and_each_has_what_to_do():
    assert [int(number) for number, _, _ in TROUBLE.findall(TROUBLES)] == list(range(1, 28))
    assert TROUBLES.count("\n### ") == 27


@pytest.mark.parametrize("sentence", [said for _, kind, said in TROUBLE.findall(TROUBLES) if kind == "puna"])
def test_quoted_error_is_a_sentence_of_the_code(sentence: str):
    assert any(template.fullmatch(sentence) for template in templates())


@cache
def templates() -> list[re.Pattern[str]]:
    """The texts of the package with enough characters of their own, and anything for the values in them."""
    found = []
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else None for part in node.values]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts = [node.value]
            else:
                continue
            if sum(len(part) for part in parts if part) >= FIXED:
                found.append(
                    re.compile("".join(".*?" if part is None else re.escape(part) for part in parts), re.DOTALL)
                )
    return found


def test_a_sentence_that_the_code_does_not_have_is_found():
    """The check can fail: one word is another."""
    assert any(template.fullmatch("runs/demo: holds a run already") for template in templates())
    assert not any(template.fullmatch("runs/demo: holds a run already, it seems") for template in templates())


def test_session_of_the_guide_learns_what_it_says(tmp_path: Path):
    guide = (DOCS / "guide" / "training.md").read_text(encoding="utf-8")
    code = guide.partition("<!-- run: sums -->\n```python\n")[2].partition("```")[0]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == code.rpartition("# ")[2]
    assert "step 200: " in done.stderr
