"""``sodkit recipes``: lists the built-in recipes, or prints one as YAML."""

from __future__ import annotations

from typing import Annotated

import typer

from sodkit.cli.options import Changes, Json


def recipes(
    name: Annotated[str | None, typer.Argument(help="Built-in name or YAML file.")] = None,
    overrides: Changes = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say above each key what it means and may be.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the built-in recipes, or print one as YAML with every value.

    Example: sodkit recipes cfinet-r50-soda-d > mine.yaml
    """
    from sodkit.cli.common import print_json
    from sodkit.cli.tables import print_table
    from sodkit.config import builtin_names, dump_recipe, load_recipe
    from sodkit.errors import UsageError
    from sodkit.explained import explain_recipe

    if explain and (name is None or as_json):
        raise UsageError(
            "--explain prints one recipe, as YAML", hint="sodkit recipes NAME --explain"
        )
    if name is not None:
        recipe = load_recipe(name, overrides or ())
        if as_json:
            print_json({"recipe": recipe.model_dump(mode="json")})
        else:
            print(explain_recipe(recipe) if explain else dump_recipe(recipe), end="")
        return
    known = [load_recipe(builtin) for builtin in builtin_names()]
    if as_json:
        print_json({"recipes": {recipe.name: recipe.description for recipe in known}})
    else:
        print_table("recipes", ("name", "what"), [(r.name, r.description) for r in known])
