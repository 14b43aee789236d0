"""`puna recipes`: the recipes that ship with Puna."""

import typer


def recipes(
    schema: bool = typer.Option(False, "--schema", help="Print the JSON Schema of a recipe, for editors."),
) -> None:
    """List the recipes that ship, or print their schema."""
    from puna.config.load import load_recipe, shipped_recipes

    if schema:
        import json

        from puna.config.explain import json_schema

        print(json.dumps(json_schema(), indent=2))
        return
    names = shipped_recipes()
    width = max(map(len, names))
    for name in names:
        print(f"{name:<{width}}  {load_recipe(name).recipe.description}")
