"""Packages that not every command needs, and the extra of Puna that installs them."""

from puna.core.errors import UserError

_EXTRAS = {
    "data": (
        "datatrove", "dill", "fastwarc", "fasttext", "fsspec", "loguru", "lxml", "multiprocess", "mwparserfromhell",
        "numba", "orjson", "pyarrow", "resiliparse", "zstandard",
    ),
    "formats": ("gguf", "huggingface_hub"),
    "gpu": ("torchao",),
    "harness": ("lm_eval",),
    "perplexity": ("kenlm",),
    "ray": ("ray",),
    "report": ("jinja2", "markupsafe", "plotly"),
    "search": ("pydivsufsort",),
    "serve": ("fastapi", "httptools", "llguidance", "prometheus_client", "starlette", "uvicorn", "uvloop"),
    "train": ("safetensors", "tensorboard", "torch"),
}  # fmt: skip


def missing_package(error: ModuleNotFoundError) -> UserError | None:
    """The error for a command that needs a package that is not installed; None if it is not one of ours."""
    package = (error.name or "").partition(".")[0]
    for extra, packages in _EXTRAS.items():
        if package in packages:
            message = f"this command needs the package {package!r}, which is not installed"
            return UserError(message, hint=f"pip install 'puna[{extra}]'")
    return None
