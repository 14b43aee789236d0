"""The section of instruction tuning: what does not go together is refused with its keys."""

from pathlib import Path

import pytest

from puna.config.load import load_recipe
from puna.core.errors import ConfigError


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["finetune.base=int4"], "quantized weights cannot learn"),
        (["finetune.preference.loss=dpo", "finetune.learn=everything"], "preferences compare answers"),
    ],
)
def test_values_that_do_not_go_together_are_refused(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_recipe("demo", overrides)


def test_a_recipe_without_the_section_is_one_of_pre_training() -> None:
    assert load_recipe("demo").recipe.finetune is None


@pytest.mark.parametrize(
    ("form", "overrides", "sentence"),
    [
        (
            "conversations",
            [],
            "format = 'conversations' is for recipes with \\[finetune\\], and this one has no such section",
        ),
        (
            "text",
            ["finetune.epochs=1"],
            "format = 'text' is text, and a recipe with \\[finetune\\] learns from examples",
        ),
        ("preferences", ["finetune.epochs=1"], "'preferences', but the recipe has no \\[finetune.preference\\]"),
        (
            "conversations",
            ["finetune.preference.beta=1"],
            "'conversations', but the recipe has a \\[finetune.preference\\]",
        ),
    ],
)
def test_formats_that_a_recipe_cannot_learn_from_are_refused(
    tmp_path: Path, form: str, overrides: list[str], sentence: str
) -> None:
    source = f'path = "x"\ninclude = ["*"]\nheldout_fraction = 0.1\nformat = "{form}"'
    (tmp_path / "r.toml").write_text(f'name = "r"\nmixture.a = 1\n[data.sources.a]\n{source}\n')
    with pytest.raises(ConfigError, match=sentence):
        load_recipe(str(tmp_path / "r.toml"), overrides)
