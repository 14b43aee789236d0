"""Puna: LLaMA as one system, from raw text to a trained, exported, talking model.

`import puna` costs nothing: each name of `__all__` is imported when it is first used (docs/api.md describes them all).
Six functions are called as a folder is (`puna.evaluate`, `puna.finetune`, `puna.plan`, `puna.report`, `puna.serve`,
`puna.train`).
Such a folder is callable, and calling it is calling the function; so it does not matter who imported what before
(docs/decisions/0015-python-api.md).
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from puna.core.version import VERSION

if TYPE_CHECKING:
    from inspect import Signature

    from puna.api.bench import bench_infer
    from puna.api.compare import compare
    from puna.api.evaluate import Evaluation, evaluate
    from puna.api.evaluate_checkpoints import RunEvaluation, evaluate_checkpoints
    from puna.api.finetune import finetune, show_batch
    from puna.api.init import StarterRecipe, init
    from puna.api.language_model import GenerateOptions, LanguageModel
    from puna.api.loading import load
    from puna.api.models import (
        Export,
        ModelInfo,
        export,
        import_model,
        inspect,
    )
    from puna.api.perplexity import Perplexity, TextLoss, perplexity
    from puna.api.plan import plan
    from puna.api.recipes import recipe
    from puna.api.search import find, index_data, trace
    from puna.api.serve import serve
    from puna.api.stages import build_data, report, run, train, train_tokenizer
    from puna.api.sweep import TrainingSweep, sweep
    from puna.config.recipe import Recipe
    from puna.core.errors import UserError
    from puna.core.layout import DataDir, EvaluationDir, RunDir
    from puna.infer.guides import Guide
    from puna.infer.measure import Sweep
    from puna.plan.plan import Plan
    from puna.report.comparison import Comparison

__version__ = VERSION

__all__ = [
    "Comparison",
    "DataDir",
    "Evaluation",
    "EvaluationDir",
    "Export",
    "GenerateOptions",
    "Guide",
    "LanguageModel",
    "ModelInfo",
    "Perplexity",
    "Plan",
    "Recipe",
    "RunDir",
    "RunEvaluation",
    "StarterRecipe",
    "Sweep",
    "TextLoss",
    "TrainingSweep",
    "UserError",
    "__version__",
    "bench_infer",
    "build_data",
    "compare",
    "evaluate",
    "evaluate_checkpoints",
    "export",
    "find",
    "finetune",
    "import_model",
    "index_data",
    "init",
    "inspect",
    "load",
    "perplexity",
    "plan",
    "recipe",
    "report",
    "run",
    "serve",
    "show_batch",
    "sweep",
    "trace",
    "train",
    "train_tokenizer",
]

_HOMES = {
    "Comparison": "report.comparison",
    "DataDir": "core.layout",
    "Evaluation": "api.evaluate",
    "EvaluationDir": "core.layout",
    "Export": "api.models",
    "GenerateOptions": "api.language_model",
    "Guide": "infer.guides",
    "LanguageModel": "api.language_model",
    "ModelInfo": "api.models",
    "Perplexity": "api.perplexity",
    "Plan": "plan.plan",
    "Recipe": "config.recipe",
    "RunDir": "core.layout",
    "RunEvaluation": "api.evaluate_checkpoints",
    "StarterRecipe": "api.init",
    "Sweep": "infer.measure",
    "TextLoss": "api.perplexity",
    "TrainingSweep": "api.sweep",
    "UserError": "core.errors",
    "bench_infer": "api.bench",
    "build_data": "api.stages",
    "compare": "api.compare",
    "evaluate": "api.evaluate",
    "evaluate_checkpoints": "api.evaluate_checkpoints",
    "export": "api.models",
    "find": "api.search",
    "finetune": "api.finetune",
    "import_model": "api.models",
    "index_data": "api.search",
    "init": "api.init",
    "inspect": "api.models",
    "load": "api.loading",
    "perplexity": "api.perplexity",
    "plan": "api.plan",
    "recipe": "api.recipes",
    "report": "api.stages",
    "run": "api.stages",
    "serve": "api.serve",
    "show_batch": "api.finetune",
    "sweep": "api.sweep",
    "trace": "api.search",
    "train": "api.stages",
    "train_tokenizer": "api.stages",
}
"""Where each name is defined."""


_FOLDERS = ("evaluate", "finetune", "plan", "report", "serve", "train")
"""Names that are folders too."""


def _defined(name: str) -> Any:
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


class _Module(ModuleType):
    """A module that pickles by its name; cloudpickle and dill do this for plain modules only."""

    def __reduce__(self) -> tuple[Any, ...]:
        return import_module, (self.__name__,)


class _CallableFolder(_Module):
    """A folder that is called as the function of its name; `help` and signatures show the function."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    @property
    def __wrapped__(self) -> Any:
        return _defined(self.__name__.rpartition(".")[2])

    @property
    def __signature__(self) -> "Signature":
        from inspect import signature

        return signature(self.__wrapped__)

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        from inspect import getdoc

        return f"{self.__wrapped__.__name__}{self.__signature__}\n\n{getdoc(self.__wrapped__)}"


class _Puna(_Module):
    """This module: its names are imported when they are asked for, its folders of `_FOLDERS` become callable."""

    def __getattr__(self, name: str) -> Any:
        if name in _FOLDERS:
            return import_module(f"{self.__name__}.{name}")  # which binds the folder here, by `__setattr__`
        if name not in _HOMES:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        found = _defined(name)
        setattr(self, name, found)
        return found

    def __setattr__(self, name: str, value: object) -> None:
        # Python ends every import of a submodule by binding it here, whoever asked for it.
        if name in _FOLDERS and type(value) is ModuleType:
            value.__class__ = _CallableFolder
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Puna
