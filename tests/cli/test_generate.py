"""`puna generate`: what stands on standard output, and what is only told on stderr."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from model_source import random_model
from typer.testing import CliRunner

import puna
from puna.cli import generate as command
from puna.cli.app import app
from puna.cli.prompts import ANSWER
from puna.config.recipe import ModelConfig
from puna.core.errors import UserError
from puna.core.layout import RunDir
from puna.infer.requests import Event
from puna.model.files import save_model

GREEDY = ("--max-tokens", "6", "--temperature", "0")


def run(*arguments: str | Path, stdin: str = "") -> Result:
    result = CliRunner().invoke(app, ["generate", *map(str, arguments)], input=stdin)
    if isinstance(result.exception, UserError):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def texts(tiny_run: RunDir) -> dict[str, str]:
    """What the model writes behind each prompt."""
    prompts = ["The people", "law", "import json"]
    return dict(zip(prompts, puna.load(tiny_run).generate(prompts, max_tokens=6, temperature=0), strict=True))


def test_one_text_is_the_prompt_and_what_follows(tiny_run: RunDir, texts: dict[str, str]) -> None:
    expected = "The people" + texts["The people"] + "\n"
    for prompt, stdin in (("The people", ""), ("-", "The people")):
        result = run(tiny_run.root, prompt, *GREEDY, stdin=stdin)
        assert (result.stdout, result.stderr) == (expected, "")


def test_several_texts_stand_in_the_order_of_their_prompts(
    tiny_run: RunDir, texts: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("law\nimport json\n")
    result = run(tiny_run.root, "The people", "--prompts", file, *GREEDY)
    assert result.stdout == "---\n".join(f"{prompt}{text}\n" for prompt, text in texts.items())
    result = run(tiny_run.root, "law", "--n", "2", *GREEDY)
    assert result.stdout == "---\n".join([f"law{texts['law']}\n"] * 2)


def test_a_text_that_ends_early_waits_for_those_before_it() -> None:
    def completion(request: int, sample: int) -> Any:
        return Event(request=request, sample=sample, token=None, text="", completion=(request, sample))  # pyrefly: ignore

    places = [(1, 1), (0, 1), (0, 0), (1, 0)]
    events = command._Timed(iter(completion(*place) for place in places))
    assert list(command._in_order(events, 2)) == sorted(places)


def test_json_has_a_line_for_each_text(tiny_run: RunDir, texts: dict[str, str]) -> None:
    lines = run(tiny_run.root, *texts, "--json", "--logprobs", "2", *GREEDY).stdout.splitlines()
    found = sorted((json.loads(line) for line in lines), key=lambda record: record["index"])
    assert [(record["prompt"], record["text"]) for record in found] == list(texts.items())
    assert {record["finish"] for record in found} == {"length"}
    assert len(found[0]["tokens"]) == len(found[0]["logprobs"]) == 6
    best = found[0]["logprobs"][0]["best"]
    assert (best[0]["id"], best[0]["logprob"]) == (found[0]["tokens"][0], found[0]["logprobs"][0]["logprob"])
    assert best[0]["logprob"] >= best[1]["logprob"]
    plain = json.loads(run(tiny_run.root, "law", "--json", *GREEDY).stdout)
    assert "logprobs" not in plain


def test_every_choice_of_sampling_reaches_the_model(tiny_run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def events(self: puna.LanguageModel, prompts: list[str], **options: Any) -> Any:
        seen.update(options, prompts=prompts)
        return iter(())

    monkeypatch.setattr(puna.LanguageModel, "events", events)
    run(
        tiny_run.root, "a", "--max-tokens", "3", "--temperature", "0.5", "--top-k", "4", "--top-p", "0.5", "--min-p",
        "0.1", "--repetition-penalty", "1.5", "--seed", "6", "--stop", "x", "--stop", "y", "--n", "2", "--special",
        "--choice", "u", "--choice", "v",
    )  # fmt: skip
    assert seen == {
        "prompts": ["a"], "n": 2, "logprobs": None, "max_tokens": 3, "temperature": 0.5, "top_k": 4, "top_p": 0.5,
        "min_p": 0.1, "repetition_penalty": 1.5, "seed": 6, "stop": ["x", "y"], "special": True,
        "guide": puna.Guide.choice(["u", "v"]),
    }  # fmt: skip


def test_what_it_took_is_told_where_that_is_asked(tiny_run: RunDir) -> None:
    result = run(tiny_run.root, "law", "--stats", *GREEDY)
    assert result.stderr.startswith("6 tokens, the first after ")
    assert "tokens/s; float32 kernels" in result.stderr


def test_what_was_written_stays_where_it_is_interrupted(tiny_run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: puna.LanguageModel, prompts: list[str], **options: Any) -> Any:
        yield Event(request=0, sample=0, token=None, text=" is")
        raise KeyboardInterrupt

    monkeypatch.setattr(puna.LanguageModel, "events", interrupted)
    result = run(tiny_run.root, "law")
    assert result.exit_code == 130
    assert result.stdout == "law is\n"


def test_what_is_said_of_a_text_comes_on_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    def events() -> Any:
        yield Event(request=0, sample=0, token=None, text=" is")
        yield Event(request=0, sample=0, token=None, text=" long", completion="all of it")  # pyrefly: ignore
        assert capsys.readouterr().out == "law is long\n"

    command._write_as_it_comes(command._Timed(events()), "law")
    assert capsys.readouterr().out == ""


def test_a_text_steers_no_terminal_and_is_whole_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "x" * 5000
    event = Event(request=0, sample=0, token=None, text="\x1b[31mred\a")
    for at_terminal, shown in ((True, "\\x1b[31mred\\x07\n"), (False, "\x1b[31mred\a\n")):
        monkeypatch.setattr(sys.stdout, "isatty", lambda at_terminal=at_terminal: at_terminal)
        command._write_as_it_comes(command._Timed(iter([event])), long)
        assert capsys.readouterr().out == long + shown


def test_json_lines_come_back_with_their_own_fields(tiny_run: RunDir, texts: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    asked = [{"id": 7, "prompt": "law", "gold": {"a": [1.5, None]}}, {"prompt": "import json", "id": "é\u2028"}]
    file.write_text("\n\n".join(map(json.dumps, asked)) + "\n")
    lines = run(tiny_run.root, "The people", "--prompts", file, "--n", "2", "--logprobs", "0", *GREEDY).stdout.split(
        "\n"
    )[:-1]
    found = sorted(map(json.loads, lines), key=lambda record: (record["index"], record["sample"]))
    assert [(record["prompt"], record["text"]) for record in found] == [pair for pair in texts.items() for _ in "12"]
    for record in found:
        own = {} if record["index"] == 0 else asked[record["index"] - 1]
        assert {name: record[name] for name in own} == own
        assert record.keys() - own.keys() - {"prompt"} == set(ANSWER)


def test_ids_behind_the_vocabulary_have_no_text_in_json(tiny_run: RunDir, tmp_path: Path) -> None:
    tokenizer = puna.load(tiny_run).tokenizer
    rows = tokenizer.vocab_size + 8
    shape = {"dim": 64, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 96, "context": 64, "vocab_size": rows}
    save_model(random_model(ModelConfig.model_validate(shape)), tmp_path / "model", tokenizer=tokenizer, inputs={})
    record = json.loads(run(tmp_path / "model", "law", "--json", "--logprobs", str(rows), *GREEDY).stdout)
    texts = {best["id"]: best["token"] for best in record["logprobs"][0]["best"]}
    assert len(texts) == rows
    assert [texts[token] for token in range(tokenizer.vocab_size, rows)] == [""] * 8


def test_weights_and_cache_are_chosen(tiny_run: RunDir, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("puna.infer.fidelity._home", lambda: tmp_path)
    result = run(tiny_run.root, "law", "--weights", "int8", "--cache", "float32", "--stats", *GREEDY)
    assert "int8: KL 0.0" in result.stderr
    assert "; int8 kernels" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "there is no prompt"),
        (["-", "-"], "can be given once"),
        (["x", "--logprobs", "1"], "is shown with --json only"),
        (["--prompts", "nowhere.txt"], "nowhere.txt: cannot be read: No such file"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(tiny_run: RunDir, arguments: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        run(tiny_run.root, *arguments)


@pytest.mark.e2e
def test_processes_of_torchrun_share_the_model_and_one_of_them_talks(tiny_run: RunDir, tmp_path: Path) -> None:
    tokenizer = puna.load(tiny_run).tokenizer
    shape = {"dim": 64, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 96, "context": 64}
    model = random_model(ModelConfig.model_validate(shape | {"vocab_size": tokenizer.vocab_size}))
    save_model(model, tmp_path / "model", tokenizer=tokenizer, inputs={})
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "puna"]
    done = subprocess.run(
        [sys.executable, *launcher, "generate", str(tmp_path / "model"), "-", *GREEDY], input="The people", text=True,
        capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )  # fmt: skip
    text = puna.load(tmp_path / "model").generate("The people", max_tokens=6, temperature=0)
    assert (done.returncode, done.stdout) == (0, f"The people{text}\n"), done.stderr[-4000:]
