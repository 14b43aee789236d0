"""Results as tables in all forms, as a page, for the hub, and the record that says they are finished."""

from collections.abc import Sequence
from pathlib import Path

from puna.core.files import sha256_file, write_text
from puna.core.layout import EvaluationDir
from puna.core.records import Record
from puna.core.schema.evaluation import Results
from puna.evaluate.hub_card import write_hub_results
from puna.evaluate.outputs import write_results
from puna.evaluate.page.write import write_page
from puna.evaluate.published.tables import find_models, published_tables
from puna.evaluate.suites import find_suite
from puna.evaluate.table_forms import latex, markdown
from puna.evaluate.tables import ResultTable, plain_table, suite_tables


def check_models(suite: str | None, against: Sequence[str]) -> None:
    """Refuse names of published models that no table has.

    Args:
        suite: Whose tables are meant; None is all.
        against: The names.

    Raises:
        EvaluateError: There is no such suite, or no such model; those that are alike are named.
    """
    tables = published_tables().values() if suite is None else [sheet.published for sheet in find_suite(suite).sheets]
    find_models(against, tables)


def tables_of(results: Sequence[Results], suite: str | None, against: Sequence[str]) -> list[ResultTable]:
    """The tables of a suite with a column for each evaluation, or else one table of all figures.

    Args:
        results: The evaluations.
        suite: Its name; None is none.
        against: Names of published models whose columns are wanted.

    Raises:
        EvaluateError: There is no such suite or model.
    """
    return [plain_table(results, against)] if suite is None else suite_tables(find_suite(suite), results, against)


def finish(directory: EvaluationDir, results: Results, tables: Sequence[ResultTable], record: Record) -> None:
    """Write everything that is made of results, and the record, which says that the evaluation is finished.

    Args:
        directory: Of the evaluation.
        results: All figures.
        tables: What is shown of them.
        record: Begun before the work.

    Raises:
        DataError: A file of documents is damaged.
        StorageError: The disk is full, or the directory is not writable.
    """
    write_results(directory, results)
    write_text(directory.tables_markdown, markdown(tables))
    write_text(directory.tables_latex, latex(tables))
    write_page(directory, tables)
    write_hub_results(directory, results, record.started.partition("T")[0])
    record.outputs = {str(path.relative_to(directory.root)): sha256_file(path) for path in _files(directory)}
    record.results = {task.id: {task.main[0]: task.main[1].value} for task in results.tasks}
    record.write(directory.record)


def _files(directory: EvaluationDir) -> list[Path]:
    return sorted(path for path in directory.root.rglob("*") if path.is_file() and not path.name.startswith(".tmp-"))
