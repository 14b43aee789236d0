"""The chat templates that come with Puna, with what is learned in `{% generation %}` blocks.

| name | a conversation | from |
|---|---|---|
| `plain` | every turn on a line, EOS behind answers | conversations of models without a template, here |
| `flan` | question, EOS, answer, EOS | Chung et al. 2022, section 2.2: EOS between input and target |
| `chatml` | turns between `<|im_start|>` and `<|im_end|>`; calls as in Hermes and Qwen | OpenAI 2023 |
| `llama2` | `[INST]`, `<<SYS>>`, BOS and EOS around each pair | Touvron et al. 2023b; llama, generation.py |
| `alpaca` | instruction, perhaps input, response | Stanford Alpaca (Taori et al. 2023), train.py |

BOS comes first where the tokenizer's files ask for it: the templates write it then, since other systems leave that to
them. `alpaca` has two prompts: that with an input is written for a question that has a line `### Input:`.
"""

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from puna.chat.template import ChatTemplate
from puna.core.errors import GenerateError
from puna.core.files import read_text
from puna.tokenizer.chat_template import MOST_CHARACTERS
from puna.tokenizer.grown import grown
from puna.tokenizer.tokenizer import Tokenizer

SHIPPED = ("plain", "flan", "chatml", "llama2", "alpaca")
"""The names of the templates that come with Puna."""
OWN = "own"
"""The name of the template that the model has already."""
_CONTROLS = {"chatml": ("<|im_start|>", "<|im_end|>")}
_WRITES_BOS = ("llama2",)


@dataclass(frozen=True)
class ChatSetup:
    """What a model needs for conversations."""

    template: ChatTemplate
    tokenizer: Tokenizer
    """With the template's control tokens, which may be more than the model has rows for, and with what ends an answer
    among its stops."""


def control_tokens(name: str) -> tuple[str, ...]:
    """The tokens that a template needs beyond those of most tokenizers; `name` as `finetune.template` has it."""
    return _CONTROLS.get(name, ())


def shipped_template(name: str, tokenizer: Tokenizer) -> str:
    """The Jinja source of a template that comes with Puna.

    Args:
        name: One of `SHIPPED`.
        tokenizer: Of the model that is to have it; whether its texts begin with BOS is written down.
    """
    source = (resources.files("puna.chat") / "shipped" / f"{name}.jinja").read_text(encoding="utf-8")
    bos = tokenizer.add_bos and name not in _WRITES_BOS
    return ("{{- bos_token }}\n" if bos else "") + source


def chat_setup(name: str, own: str | None, tokenizer: Tokenizer) -> ChatSetup:
    """The template that a recipe names, and the model's tokenizer made ready for it.

    Args:
        name: As `finetune.template` has it: `own`, one of `SHIPPED`, or the path of a Jinja file.
        own: The model's template, if it has one.
        tokenizer: The model's.

    Raises:
        GenerateError: The model has no template of its own, or there is no such name or file, or it cannot be read.
        TokenizerError: The tokenizer cannot have the template's control tokens.
    """
    tokenizer = grown(tokenizer, control_tokens(name))
    template = ChatTemplate(_source(name, own, tokenizer), tokenizer)
    ends = [tokenizer.piece(token) for token in sorted(template.turn_end.tokens)]
    ended = grown(tokenizer, (), ends=ends)
    return ChatSetup(template if ended is tokenizer else ChatTemplate(template.source, ended), ended)


def template_in(file: Path) -> str:
    """The chat template in a Jinja file, with the file's line ends.

    Raises:
        GenerateError: The file cannot be read.
    """
    return read_text(file, GenerateError, most_characters=MOST_CHARACTERS, newline="")


def _source(name: str, own: str | None, tokenizer: Tokenizer) -> str:
    if name in SHIPPED:
        return shipped_template(name, tokenizer)
    if name != OWN:
        if not os.path.exists(name):  # also where it cannot be the name of a file
            raise GenerateError(
                f"finetune.template = {name!r}: is neither the name of a template nor a file that is there",
                hint=f"the names are {', '.join(SHIPPED)}, and {OWN} for the model's",
            )
        return template_in(Path(name))
    if own is None:
        raise GenerateError(
            "finetune.template = 'own': the model has no chat template",
            hint=f"choose one, such as chatml, or a Jinja file: finetune.template = {' | '.join(SHIPPED)} | PATH",
        )
    return own
