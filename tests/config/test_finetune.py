"""The section of instruction tuning: what does not go together is refused with its keys."""

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
