"""The process that renders: it answers, ends what takes too much, and is there again for the next."""

import os
import signal
import threading
from collections.abc import Iterator
from datetime import datetime

import pytest

from puna.chat.renderer import Given, Renderer
from puna.core.errors import GenerateError

NOW = datetime(2026, 1, 31)
LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture
def renderer() -> Iterator[Renderer]:
    made = Renderer(seconds=1, most=1000)
    yield made
    made.close()


def test_text_comes_back_whatever_is_in_it(renderer: Renderer) -> None:
    text = 'line\n"quoted" \\ \0 é 日本 🙂 \u2028'
    assert renderer.render("{{ x }}", {"x": text}, now=NOW) == text
    assert renderer.render("{% generation %}{{ x }}{% endgeneration %}", {"x": 1}, now=NOW, marks=("é", "ö")) == "é1ö"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (LOOP, "took longer than 1 s"),
        ("{{ 'a' * 10 ** 10 }}", "more memory"),
        ("{{ '%1000000000d' % 1 }}", "more memory"),
        ("{% set ns = namespace(x='aa') %}{% for n in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}", "memory"),
        ("{% for n in range(9999) %}xxxxxxxx{% endfor %}", "more than 1,000 characters"),
        ("{{ raise_exception('Roles must alternate') }}", "does not take this conversation: Roles must alternate"),
        ("{% if %}", "is not valid: line 1"),
        ("x" * (1 << 20 | 1), "1,048,577 characters"),
    ],
    ids=["loop", "product", "format", "doubling", "long", "refusal", "syntax", "large"],
)
def test_a_hostile_template_is_a_sentence_and_the_next_one_is_rendered(
    renderer: Renderer, template: str, says: str
) -> None:
    with pytest.raises(GenerateError, match=says):
        renderer.render(template, {}, now=NOW)
    assert renderer.render("{{ x }}", {"x": 1}, now=NOW) == "1"


def test_several_texts_come_in_their_order_together_or_one_by_one(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    template, each = "{% generation %}{{ x }}{% endgeneration %}", [Given({"x": 1}), Given({"x": 2}, ("<", ">"))]
    for most in (1 << 20, 0):
        monkeypatch.setattr("puna.chat.renderer._TOGETHER", most)
        assert renderer.render_each(template, each, now=NOW) == ["1", "<2>"]
    with pytest.raises(GenerateError, match="no more than one"):
        renderer.render_each("{{ raise_exception('no more than one') if x > 1 }}", each, now=NOW)


@pytest.mark.parametrize(
    ("fault", "says"),
    [("{{ raise_exception('not this') }}", "not this"), (LOOP, "took longer"), ("{{ 'a' * 10 ** 10 }}", "more memory")],
    ids=["refusal", "loop", "memory"],
)
def test_of_many_conversations_one_that_fails_leaves_the_others_their_texts(
    renderer: Renderer, fault: str, says: str
) -> None:
    template = "{% if x == 3 %}" + fault + "{% endif %}{{ x }}"
    found = renderer.render_all(
        template, [[Given({"x": 2 * at}), Given({"x": 2 * at + 1})] for at in range(3)], now=NOW
    )
    failed = found.pop(1)
    assert found == [["0", "1"], ["4", "5"]]
    assert isinstance(failed, GenerateError)
    assert says in str(failed)


def test_one_process_serves_many_texts_and_threads(renderer: Renderer) -> None:
    seen: set[str] = set()

    def ask(number: int) -> None:
        for turn in range(10):
            seen.add(renderer.render("{{ x }}", {"x": f"{number}-{turn}"}, now=NOW))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 40


def test_a_process_that_was_killed_is_replaced(renderer: Renderer) -> None:
    renderer.start()
    process = renderer._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert renderer.render("again", {}, now=NOW) == "again"
    assert renderer._process is not process


def test_a_fork_leaves_the_process_to_its_parent(renderer: Renderer) -> None:
    assert renderer.render("a", {}, now=NOW) == "a"
    process = renderer._process
    renderer.forked()
    assert renderer.render("b", {}, now=NOW) == "b"
    assert process is not None
    assert renderer._process is not process
    assert process.poll() is None
    process.kill()
    process.communicate()


def test_ctrl_c_does_not_reach_it_and_an_answer_that_was_not_awaited_is_not_the_next_ones(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer.start()
    process = renderer._process
    assert process is not None
    assert os.getsid(process.pid) != os.getsid(0)

    def interrupted(answer: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("puna.chat.renderer.json.loads", interrupted)
        with pytest.raises(KeyboardInterrupt):
            renderer.render("first", {}, now=NOW)
    assert renderer.render("second", {}, now=NOW) == "second"


def test_jinja_that_is_not_installed_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(GenerateError, match="need the package 'jinja2'"):
        Renderer().start()
