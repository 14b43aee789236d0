"""`puna chat` through a pipe: turns are lines, answers are standard output, all else is standard error."""

import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import puna
from puna.chat.conversation import fit
from puna.chat.messages import Message
from puna.chat.template import ChatTemplate, PlainText
from puna.cli.app import app
from puna.core.errors import GenerateError, UserError
from puna.core.layout import RunDir

GREEDY = ("--max-tokens", "6", "--temperature", "0")
TEMPLATE = "{% for m in messages %}{{ m.role[0] ~ m.content }}\n{% endfor %}{% if add_generation_prompt %}a{% endif %}"


def run(*arguments: str | Path, stdin: str = "") -> Result:
    result = CliRunner().invoke(app, ["chat", *map(str, arguments)], input=stdin)
    if isinstance(result.exception, UserError):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def tuned(tiny_run: RunDir, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a template beside it."""
    directory = tmp_path_factory.mktemp("tuned") / "model"
    shutil.copytree(tiny_run.model, directory)
    (directory / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return directory


def test_each_line_is_answered_after_all_before_it(tuned: Path) -> None:
    model = puna.load(tuned)
    template = ChatTemplate(TEMPLATE, model.tokenizer)
    turns = [Message("system", "be"), Message("user", "law")]
    fitted = fit(template, turns, context=model.engine.longest, max_tokens=6)
    first = model.complete(fitted.ids, max_tokens=6, temperature=0)[0].text
    assert model.chat(turns, max_tokens=6, temperature=0) == first
    assert "".join(model.chat_stream(turns, max_tokens=6, temperature=0)) == first
    turns += [Message("assistant", first), Message("user", "x")]
    fitted = fit(template, turns, context=model.engine.longest, max_tokens=6)
    second = model.complete(fitted.ids, max_tokens=6, temperature=0)[0].text
    result = run(tuned, *GREEDY, "--system", "be", stdin="law\n\nx\n")
    assert result.exit_code == 0
    assert result.stdout == "".join(text.lstrip() + "\n" * bool(text.lstrip()) for text in (first, second))
    assert result.stderr.count("; context ") == 2


def test_a_model_without_a_template_says_once_that_it_continues_a_text(tiny_run: RunDir) -> None:
    model = puna.load(tiny_run)
    ids = PlainText(model.tokenizer).ids([{"role": "user", "content": "law"}])
    text = model.complete(ids, max_tokens=6, temperature=0)[0].text
    result = run(tiny_run.root, *GREEDY, stdin="law\n")
    assert result.stdout == text.lstrip() + "\n"
    assert result.stderr.splitlines()[0].startswith("the model has no chat template, so it continues")
    with pytest.raises(GenerateError, match="has no chat template"):
        model.chat([{"role": "user", "content": "law"}])


def test_a_turn_that_does_not_fit_ends_a_pipe_with_a_sentence(tuned: Path) -> None:
    with pytest.raises(GenerateError, match="this turn takes 1"):
        run(tuned, stdin="word " * 50 + "\n")


def test_values_that_cannot_be_are_refused(tuned: Path) -> None:
    for option in (["--temperature", "nan"], ["--max-tokens", "0"], ["--weights", "int5"]):
        assert run(tuned, *option, stdin="x\n").exit_code == 2
