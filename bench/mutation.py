"""Mutation scores: how many small changes of the modules that the README's promises rest on make a test fail.

mutmut makes the mutants of a module, all in one file that runs the one which an environment variable names. pytest
collects the tests of a group once and runs each once, which tells which functions it reaches; then a fork of that
process per mutant runs those that reach its function, quickest first, until one fails. So a mutant costs what its tests
cost: no start, no collection, no fixture of the session.

    pip install mutmut==3.8.1
    python bench/mutation.py
"""

import argparse
import ast
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GROUPS = {
    "order of data": (
        ["shards/permutation.py", "shards/mixture.py", "shards/loader.py", "shards/prefetch.py"],
        ["shards/test_permutation.py", "shards/test_mixture.py", "shards/test_loader.py", "shards/test_prefetch.py"],
    ),
    "checkpoint and resume": (
        ["core/schema/train_state.py", "train/checkpoint.py", "train/resume.py", "train/saver.py"],
        ["core/schema/test_train_state.py", "train/test_checkpoint.py", "train/test_resume.py", "train/test_saver.py"],
    ),
    "loss": (["ops/cross_entropy.py"], ["ops/test_cross_entropy.py", "ops/test_shared_vocabulary.py"]),
    "weights table": (["formats/table.py"], ["formats/test_table.py"]),
    "tokenizer agreement": (["tokenizer/agreement.py"], ["tokenizer/test_agreement.py"]),
}
"""By the promise, its modules below src/puna and their tests below tests."""
_WITHOUT = {
    "test_processes_that_share_the_vocabulary_get_the_whole_ones_losses_and_their_parts_of_its_gradients",
    "test_a_shared_vocabulary_has_the_oracles_losses_and_gradients",
    "test_the_kernel_for_gpus_computes_the_same_compiled",
    "test_no_process_leaves_a_save_before_it_is_complete_or_has_failed",
}
"""Tests that start processes or a compiler take as long for every mutant as hundreds of the others."""
_LEAST_S, _TIMES, _WAITING_S = 5.0, 3.0, 10.0
"""A mutant may compute for so many seconds at least, and so many times as long as its tests did without it; and it may
take so long on the clock besides, for one that waits for ever."""
_AROUND = 24
"""Characters shown on each side of a change."""
_NAME = "MUTANT_UNDER_TEST"
"""The variable by which mutmut's trampolines choose."""


@dataclass
class Mutants:
    """The mutants of one module."""

    module: str
    names: list[str]
    """As the trampoline knows them, without the module."""
    changes: dict[str, str]
    """Of each, what it changes."""


def mutate(path: Path, module: str) -> Mutants:
    """Replace a module by all its mutants at once."""
    from mutmut.mutation.file_mutation import mutate_file_contents

    made = mutate_file_contents(str(path), path.read_text(encoding="utf-8"))
    path.write_text(made.code, encoding="utf-8")
    names = [str(name) for name in made.mutant_names]
    return Mutants(module, names, _changes(made.code, names))


def _changes(code: str, names: list[str]) -> dict[str, str]:
    """What each mutant has instead of what: the part of its source in which the two differ, with some around it."""
    sources = {
        node.name: "; ".join(ast.unparse(part) for part in (node.args, *node.body))
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.FunctionDef)
    }
    changes = {}
    for name in names:
        before, after = sources[f"{_function(name)}__mutmut_orig"], sources[name]
        first = _common(before, after)
        last = _common(before[first:][::-1], after[first:][::-1])
        old, new = (
            " ".join(text[max(0, first - _AROUND) : len(text) - last + _AROUND].split()) for text in (before, after)
        )
        changes[name] = f"{old} -> {new}"
    return changes


def _common(one: str, other: str) -> int:
    """Characters with which both begin."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _function(name: str) -> str:
    return name.rpartition("__mutmut_")[0]


@dataclass
class Forks:
    """The pytest plugin that runs the tests once, and then once more for each mutant in a fork of its own."""

    mutants: list[str]
    """Names with their modules."""
    reached: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    seconds: dict[str, float] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Leave out what takes too long."""
        items[:] = [item for item in items if item.originalname not in _WITHOUT]

    def pytest_runtestloop(self, session: Any) -> bool:
        """Instead of pytest's own loop."""
        from _pytest.runner import runtestprotocol
        from mutmut.mutation import trampoline

        hits: set[str] = set()
        trampoline.record_trampoline_hit = lambda name, caller=None: hits.add(name)
        os.environ[_NAME] = "stats"
        following = [*session.items[1:], session.items[-1]]
        for item, after in zip(session.items, following, strict=True):
            started = time.process_time()
            reports = runtestprotocol(item, log=False, nextitem=after)
            self.seconds[item.nodeid] = time.process_time() - started
            if any(report.failed for report in reports):
                sys.exit(f"{item.nodeid} fails without any mutant:\n{[report.longreprtext for report in reports]}")
            for name in hits:
                self.reached[name].append(item)
            hits.clear()
        # What fails in a fork for being in one would count as a killed mutant.
        if self._verdict(session, "", session.items, runtestprotocol) != "survived":
            sys.exit("the tests fail in a fork without any mutant")
        for number, mutant in enumerate(self.mutants, 1):
            items = sorted(self.reached.get(_function(mutant), []), key=lambda item: self.seconds[item.nodeid])
            self.verdicts[mutant] = self._verdict(session, mutant, items, runtestprotocol)
            if number % 20 == 0 or number == len(self.mutants):
                print(f"\r{number} of {len(self.mutants)}", end="", file=sys.stderr, flush=True)
        return True

    def _verdict(self, session: Any, mutant: str, items: list[Any], run: Any) -> str:
        if not items:
            return "no test"
        limit = int(_LEAST_S + _TIMES * sum(self.seconds[item.nodeid] for item in items))
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
            signal.alarm(int(_WAITING_S) + 3 * limit)
            _silence()
            os.environ[_NAME] = mutant
            os._exit(_run(session, items, run))
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return "timeout" if os.WTERMSIG(status) in (signal.SIGALRM, signal.SIGXCPU) else "killed"
        return "killed" if os.WEXITSTATUS(status) else "survived"


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _run(session: Any, items: list[Any], run: Any) -> int:
    """Run tests until one fails."""
    try:
        for item in items:
            session._setupstate.teardown_exact(item)
            item._initrequest()
            if any(report.failed for report in run(item, log=False, nextitem=item)):
                return 1
    except BaseException:
        return 1
    return 0


def measure(group: str, sample: int, seed: int) -> dict[str, Any]:
    """The verdict on each mutant of a group, or on so many of each module that a seed draws."""
    modules, tests = GROUPS[group]
    there = [str(path) for test in tests if (path := ROOT / "tests" / test).exists()]
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "src"
        shutil.copytree(ROOT / "src", tree, ignore=shutil.ignore_patterns("__pycache__"))
        found = [
            mutate(tree / "puna" / module, f"puna.{module.removesuffix('.py').replace('/', '.')}") for module in modules
        ]
        chosen = {
            f"{mutants.module}.{name}": mutants.changes[name]
            for mutants in found
            for name in (
                sorted(random.Random(seed).sample(mutants.names, sample))
                if 0 < sample < len(mutants.names)
                else mutants.names
            )
        }
        (Path(scratch) / "mutants.json").write_text(json.dumps(list(chosen)), encoding="utf-8")
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(tree), os.environ.get("PYTHONPATH", "")]),
            "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", _NAME: "",
        }  # fmt: skip
        command = [sys.executable, __file__, "--run", scratch, "--tests", *there]
        # There, because a mutant may write where it should not.
        subprocess.run(command, cwd=scratch, env=environment, check=True)
        verdicts = json.loads((Path(scratch) / "verdicts.json").read_text(encoding="utf-8"))
    return {
        name: {"verdict": verdicts[name]} | ({"change": change} if verdicts[name] in ("survived", "no test") else {})
        for name, change in chosen.items()
    }


def run_group(scratch: Path, tests: list[str]) -> None:
    """In a process whose `puna` is the mutated one: run the tests, and write the verdicts."""
    import pytest

    forks = Forks(json.loads((scratch / "mutants.json").read_text(encoding="utf-8")))
    options = ["-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), "--capture", "no"]
    pytest.main([*options, *tests], plugins=[forks])
    (scratch / "verdicts.json").write_text(json.dumps(forks.verdicts), encoding="utf-8")


def main() -> None:
    """Measure the groups that are named, or all, and write a record of every mutant."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--group", action="append", choices=GROUPS, help="measure this one; may be given again")
    parser.add_argument("--sample", type=int, default=0, help="mutants of each module; 0, the default, takes all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--out", type=Path, help="where the record goes")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tests", nargs="*", default=[], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        run_group(given.run, given.tests)
        return
    rows, left = [], {}
    for group in given.group or GROUPS:
        started = time.perf_counter()
        found = measure(group, given.sample, given.seed)
        verdicts = [one["verdict"] for one in found.values()]
        killed = sum(verdict in ("killed", "timeout") for verdict in verdicts)
        rows.append({"group": group, "mutants": len(verdicts), "killed": killed, "score": killed / len(verdicts)})
        left |= {name: one for name, one in found.items() if "change" in one}
        print(f"\n{group}: {killed} of {len(verdicts)} killed, {time.perf_counter() - started:.0f} s", flush=True)
    if given.out:
        from puna.core.records import commit, machine

        record = {
            "command": " ".join(["python", *sys.argv]), "commit": commit(), "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": machine(), "mutmut": version("mutmut"), "rows": rows, "left": left,
        }  # fmt: skip
        given.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
