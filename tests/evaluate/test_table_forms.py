"""Tables in each form: whole, with every column, whatever a model is called."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import made_results, made_task
from rich.console import Console

from puna.evaluate.suites import find_suite
from puna.evaluate.table_forms import latex, markdown, print_tables
from puna.evaluate.tables import ResultTable, TableCell, TableRow, suite_tables

TABLES = suite_tables(
    find_suite("llama"), [made_results(made_task("llama/piqa@0", 1700, 1838, of=9999, limit_seed=0))], ["LLaMA 7B"]
)


def printed(tables: list[ResultTable], width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    print_tables(tables, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_markdown_has_our_figure_with_interval_n_and_footnote():
    text = markdown(TABLES)
    assert "## Table 3: Zero-shot performance on common sense reasoning" in text
    assert "|  | demo | LLaMA 7B |" in text
    line = next(line for line in text.splitlines() if line.startswith("| PIQA"))
    assert line == "| PIQA | **92.5** ± 1.2 (1,838)<sup>2</sup> | 79.8 |"
    assert "2. a part of the documents, drawn with seed 0" in text
    assert "Touvron et al. (2023)" in text


def test_markdown_tables_have_as_many_fields_in_each_row():
    widths = {}
    for line in markdown(TABLES).splitlines():
        if line.startswith("|"):
            widths.setdefault(len(re.split(r"(?<!\\)\|", line)), []).append(line)
    assert set(widths) == {5, 4, 3}.intersection(widths)
    assert all(len(re.split(r"(?<!\\)\|", line)) in (4, 5) for lines in widths.values() for line in lines)


@given(st.text(min_size=1, max_size=40))
def test_no_name_breaks_a_row_of_markdown_or_of_latex(name: str):
    table = ResultTable(
        title=name, source=name, note=name, unit="fraction", ours=(name,), others=(), notes=(name,),
        rows=(TableRow(name=name, cells=(TableCell(text="0.5"),)),),
    )  # fmt: skip
    rows = [line for line in markdown([table]).splitlines() if line.startswith("| ")]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in rows[:2]] == [3, 3]
    text = latex([table])
    rows = text[text.index(r"\toprule") : text.index(r"\bottomrule")].splitlines()
    assert [len(re.findall(r"(?<!\\)&", line)) for line in rows if line.endswith(r" \\")] == [1, 1]


def test_latex_escapes_what_it_would_take_for_commands():
    text = latex(TABLES)
    assert r"\textbf{92.5} $\pm$ 1.2 (1,838)$^{2}$ & 79.8 \\" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == len(TABLES)
    table = ResultTable(
        title="50% & more_", source="", note="", unit="percent", ours=("a{b}",), others=(), notes=(),
        rows=(TableRow(name="~^\\", cells=(TableCell(text="1"),)),),
    )  # fmt: skip
    assert r"\caption{50\% \& more\_, percent}" in latex([table])
    assert r"a\{b\}" in latex([table])
    assert r"\textasciitilde{}\textasciicircum{}\textbackslash{}" in latex([table])


def test_every_form_says_by_which_protocol_our_columns_are():
    own = "Protocol llama (version 1)."
    assert f"Our columns: {own}" in markdown(TABLES)
    assert rf"\footnotesize Our columns: {own}" in latex(TABLES)
    assert f"our columns: {own}" in printed(TABLES, 100)


def test_every_form_cites_the_source_of_other_columns():
    for text in (markdown(TABLES), latex(TABLES), printed(TABLES, 300)):
        assert text.count("Touvron et al. (2023), LLaMA: Open and Efficient Foundation Language Models") == len(TABLES)


def test_the_terminal_shows_what_has_room_and_names_the_rest():
    tables = suite_tables(find_suite("llama"), [made_results(made_task("llama/piqa@0", 1700, 1838))])[:1]
    wide = printed(tables, 200)
    assert "GPT-3" in wide
    assert "no room" not in wide
    narrow = printed(tables, 90)
    assert "no room for GPT-3 175B, Gopher 280B" in narrow.replace("\n", " ")
    assert "79.8" in narrow
    assert "92.5 ± 1.2 (1,838)" in wide


@pytest.mark.parametrize(
    ("width", "there"),
    [(40, ["LLaMA 7B"]), (50, ["LLaMA 7B", "LLaMA 13B"]), (60, ["LLaMA 7B", "LLaMA 13B", "LLaMA 33B"])],
)
def test_the_columns_nearest_in_size_stay_where_the_terminal_is_narrow(width: int, there: list[str]):
    results = made_results(made_task("llama/piqa@0", 1700, 1838))
    results = results.model_copy(update={"model": results.model.model_copy(update={"parameters": 3_000_000})})
    (table, *_) = suite_tables(find_suite("llama"), [results])
    lines = printed([table], width).splitlines()
    assert max(map(len, lines)) <= width
    row = next(line for line in lines if "PIQA" in line)
    assert row.split()[-len(there) - 1 :] == ["(1,838)", *("79.8", "80.1", "82.3")[: len(there)]]
    left_out = " ".join(lines).partition("no room for ")[2].partition(";")[0]
    assert " ".join(left_out.split()) == ", ".join(name for name in table.others if name not in there)


def test_figures_and_names_of_rows_are_whole_where_the_terminal_is_narrow():
    names = [f"harness/openbookqa/{metric}" for metric in ("acc", "acc_norm")]
    cells = (TableCell(text="0.50", half="6.35", n=2, notes=(5, 15, 16, 17)), TableCell(text="0.29"))
    table = ResultTable(
        title="t", source="", note="", unit="fraction", ours=("demo",), others=("LLaMA 7B",), nearest=("LLaMA 7B",),
        rows=tuple(TableRow(name=name, cells=cells) for name in names), notes=(),
    )  # fmt: skip
    lines = printed([table], 46).splitlines()
    assert "…" not in "".join(lines)
    assert sum("0.50 ± 6.35 (2)" in line and line.rstrip().endswith("0.29") for line in lines) == 2
    folded = "".join(line[1:19].strip() for line in lines)
    assert all(name in folded for name in names)


def test_a_terminal_is_not_steered_by_a_model_s_name():
    table = ResultTable(
        title="t", source="", note="", unit="percent", ours=("[red]a\x1b[2J",), others=(), rows=(), notes=("\x1b]0;x",)
    )
    assert "\x1b[2J" not in printed([table], 100)
    assert "[red]a\\x1b[2J" in printed([table], 100)
    assert "\x1b]0" not in printed([table], 100)


@pytest.mark.parametrize("form", [markdown, latex])
def test_without_tables_a_form_only_says_how_to_read_them(form):
    assert "95" in form([])
