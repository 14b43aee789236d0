"""The page of an evaluation, as text and in a browser."""

import json
from pathlib import Path
from typing import Any

import pytest
from looks import faults

from puna.core.layout import EvaluationDir
from puna.core.schema.evaluation import Metric
from puna.evaluate.page.write import figure, write_page
from puna.evaluate.tables import ResultTable, TableCell, TableRow

HOSTILE = "</script><script>document.title = 'run'</script><img src=x onerror=\"document.title='run'\">"


def choose(number: int, *, right: bool) -> dict[str, Any]:
    """A question with two options, of which the second is right."""
    scores = (-3.0, -1.5) if right else (-1.5, -3.0)
    return {
        "id": str(number), "category": ("birds", "fish")[number % 2], "kind": "choose",
        "context": f"Question {number}: which of them can fly?", "gold": [1], "values": {"acc": float(right)},
        "options": [
            {"continuation": text, "logprob": score, "tokens": 2}
            for text, score in zip((" a pike", " a swallow"), scores, strict=True)
        ],
        "shown": {"chosen": {"acc": int(right)}},
    }  # fmt: skip


@pytest.fixture
def evaluation(tmp_path: Path) -> EvaluationDir:
    """Two tasks: one of choices with 120 documents, one of written texts that try to be HTML."""
    made = EvaluationDir(tmp_path / "evaluation")
    made.documents.mkdir(parents=True)
    common = {"protocol_version": 1, "task_version": 1, "data_sha256": "ab", "split": "test", "shots": 0, "bos": "one"}
    chosen = [choose(number, right=number % 3 == 0) for number in range(120)]
    written = [
        {
            "id": f"w/{number}", "kind": "write", "context": HOSTILE, "values": {"toxicity": None if number else 0.25},
            "written": [{"text": HOSTILE, "tokens": 5, "finish": "stop"}], "facts": {"html": HOSTILE},
        }
        for number in range(3)
    ]  # fmt: skip
    tasks = [
        common | {
            "id": "harness/flight@0", "title": "Flight", "protocol": "harness", "data": "flight", "n": 120, "of": 500,
            "limit_seed": 0, "chance": 0.5, "cut": {"documents": 2, "tokens": 40},
            "metrics": {"acc": {"value": 1 / 3, "n": 120, "stderr": 0.04, "low": 0.25, "high": 0.42}},
            "categories": {"birds": {"acc": {"value": 0.3, "n": 60}}, "fish": {"acc": {"value": 0.4, "n": 60}}},
        },
        common | {
            "id": "llama/words@0", "title": HOSTILE, "protocol": "llama", "data": "words", "n": 3, "of": 3,
            "metrics": {"toxicity": {"value": 0.25, "n": 1, "missing": 2}},
        },
    ]  # fmt: skip
    for task, lines in zip(tasks, (chosen, written), strict=True):
        content = "".join(json.dumps(line) + "\n" for line in [{"task": task["id"]}, *lines])
        made.documents_of(task["id"]).write_text(content)
    results = {
        "schema": 1, "model": {"path": "runs/demo", "title": f"demo {HOSTILE}", "step": 400, "tokens": 819200},
        "engine": {"title": "kernels", "exact": True}, "tasks": tasks, "missing": {"llama/race@0": "there is no data"},
    }  # fmt: skip
    made.results.write_text(json.dumps(results))
    return made


def test_a_figure_is_shown_with_half_of_its_interval() -> None:
    assert figure(Metric(value=0.5, n=4, low=0.4, high=0.62)) == "0.5000 ± 0.1100"
    assert figure(Metric(value=0.5, n=1)) == "0.5000"
    assert figure(Metric(value=0.0, n=9, low=0.0, high=0.0)) == "0.0000"
    assert figure(Metric(value=None, n=0, missing=3)) == "not measured"


def test_the_page_says_what_a_reader_must_know_of_the_figures(evaluation: EvaluationDir) -> None:
    write_page(evaluation)
    page = evaluation.page.read_text()
    for sentence in (
        "llama/race@0: there is no data",
        "harness/flight@0: 120 of 500 documents, drawn with seed 0",
        "harness/flight@0: 2 contexts were longer than the model&#39;s and lost 40 tokens of their beginnings",
        "llama/words@0: toxicity of 2 documents could not be measured",
    ):
        assert sentence in page


def test_no_text_of_a_model_or_a_data_set_becomes_html(evaluation: EvaluationDir) -> None:
    write_page(evaluation)
    assert HOSTILE not in evaluation.page.read_text()


def test_tables_of_the_papers_have_our_column_first_with_interval_and_footnotes(evaluation: EvaluationDir) -> None:
    cells = (
        TableCell(text="33.3", half="8.5", n=120, notes=(1,)), TableCell(text="76.1"), TableCell(text="-", notes=(2,)),
    )  # fmt: skip
    table = ResultTable(
        title=f"Table 3 {HOSTILE}", source="Touvron et al. (2023)", note="zero-shot", unit="percent",
        ours=("demo",), others=("LLaMA 7B", "Gopher"), rows=(TableRow(name="HellaSwag", cells=cells),),
        notes=("120 of 500 documents", f"not published {HOSTILE}"),
    )  # fmt: skip
    write_page(evaluation, [table])
    page = evaluation.page.read_text()
    assert '<td class="n ours">33.3<small> ± 8.5</small><small> (120)</small><sup>1</sup></td>' in page
    assert '<th class="n ours">demo</th><th class="n">LLaMA 7B</th><th class="n">Gopher</th>' in page
    assert "<li>120 of 500 documents</li>" in page
    assert HOSTILE not in page


@pytest.mark.browser
def test_documents_are_filtered_opened_and_walked_through(evaluation: EvaluationDir, browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select, WebDriverWait

    write_page(evaluation)
    browser.get(evaluation.page.as_uri())
    wait = WebDriverWait(browser, 60)

    def count(text: str) -> None:
        wait.until(lambda _: browser.find_element(By.ID, "count").text == text)

    count("120 of 120 documents")
    Select(browser.find_element(By.ID, "which")).select_by_value("1")
    count("40 of 120 documents")
    Select(browser.find_element(By.ID, "category")).select_by_value("fish")
    count("20 of 120 documents")
    browser.find_element(By.ID, "search").send_keys("question 33:")
    count("1 of 120 documents")
    browser.find_element(By.CSS_SELECTOR, "#list button").click()
    article = browser.find_element(By.ID, "document")
    wait.until(lambda _: "document 33" in article.text)
    gold = article.find_element(By.CSS_SELECTOR, "tr.gold")
    assert "a swallow" in gold.text
    assert "▸" in gold.text
    browser.find_element(By.ID, "search").clear()
    browser.find_element(By.ID, "search").send_keys(" ", Keys.BACKSPACE)
    count("20 of 120 documents")
    browser.find_element(By.ID, "document").send_keys(Keys.ARROW_DOWN)
    wait.until(lambda _: "document 39" in article.text)
    assert browser.current_url.endswith("#harness%2Fflight%400/39")
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.browser
def test_a_link_opens_its_document_and_its_text_stays_text(evaluation: EvaluationDir, browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    write_page(evaluation)
    browser.get(evaluation.page.as_uri() + "#llama%2Fwords%400/w%2F1")
    article = browser.find_element(By.ID, "document")
    WebDriverWait(browser, 60).until(lambda _: "document w/1" in article.text)
    assert "toxicity not measured" in article.text
    assert article.text.count(HOSTILE) >= 2
    assert browser.title.startswith("demo </script>")
    assert article.find_elements(By.TAG_NAME, "img") == []


@pytest.mark.browser
def test_the_page_fits_on_a_phone_on_a_desk_in_the_dark_and_on_paper(evaluation: EvaluationDir, browser: Any) -> None:
    write_page(evaluation)
    assert faults(browser, evaluation.page) == []
