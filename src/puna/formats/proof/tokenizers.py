"""Checks that every form of the tokenizer in an export is the same tokenizer."""

from pathlib import Path

from puna.core.errors import ExportError
from puna.core.schema.export import ExportTokenizer
from puna.formats.checkpoint import Checkpoint
from puna.tokenizer.agreement import Form, check_agreement, first_disagreement, huggingface_form, tokenizer_form
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer


def prove_tokenizers(tokenizer: Tokenizer, written: Checkpoint, directory: Path) -> ExportTokenizer:
    """Compare all forms with the model's tokenizer, string by string.

    Args:
        tokenizer: The model's.
        written: The export, opened by the reader of its format.
        directory: The export's directory.

    Raises:
        ExportError: A form differs, or there is none.
    """
    forms: dict[str, Form] = {}
    for name in ("tokenizer.model", "tokenizer.bin"):
        if (file := directory / name).is_file():
            forms[name] = tokenizer_form(load_tokenizer(file))
    if (json := directory / "tokenizer.json").is_file():
        forms[json.name] = huggingface_form(json.read_bytes(), json.name)
    inside = written.tokenizer()
    if inside is not None and not forms:
        forms[f"the {written.format} file"] = tokenizer_form(inside)
    if not forms:
        raise ExportError(f"the {written.format} files: the tokenizer was not written")
    agreement = check_agreement(tokenizer, forms)
    if difference := first_disagreement(agreement):
        raise ExportError(f"the {written.format} files: {difference}")
    return ExportTokenizer(forms=agreement["forms"], strings=agreement["strings"])
