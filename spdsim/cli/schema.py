"""`spdsim schema`: print the JSON Schema of a scenario."""


def schema() -> None:
    """Print the JSON Schema of a scenario file, for editors.

    Example:  spdsim schema > scenario.schema.json
    """
    import json

    import typer

    from spdsim.scenario import scenario_schema

    typer.echo(json.dumps(scenario_schema(), indent=2, ensure_ascii=False))
