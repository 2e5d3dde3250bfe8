"""`spdsim models`: the target models that are known, and what one is made of."""

from typing import TYPE_CHECKING, Annotated

import typer

from spdsim.cli.hardware import JsonFlag

if TYPE_CHECKING:
    from spdsim.scenario.target import TargetModel
    from spdsim.shapes.summary import ModelSummary

models = typer.Typer(rich_markup_mode=None)


@models.callback(invoke_without_command=True)
def _list(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the models of the catalogue, or show what one is made of.

    Example:  spdsim models;  spdsim models show qwen3.5-4b
    """
    context.obj = as_json
    if context.invoked_subcommand is None:
        _print_all(as_json)


@models.command()
def show(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Name in the catalogue, or path of a config.json or its directory.",
            show_default=False,
        ),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Show the layers of a model, and what a token reads of them.

    Example:  spdsim models show path/to/config.json --json
    """
    from spdsim.cli.document import document_text
    from spdsim.cli.screen import Screen, print_text
    from spdsim.render.models import print_model
    from spdsim.scenario.target_files import load_model

    target = load_model(model)
    summary = _summary(target)
    if as_json or context.obj:
        print_text(document_text({**summary.to_document(), "shape": target.model_dump(mode="json", exclude={"base"})}))
    else:
        print_model(summary, Screen())


def _print_all(as_json: bool) -> None:
    from spdsim.cli.document import document_text
    from spdsim.cli.screen import Screen, print_text
    from spdsim.render.models import print_models
    from spdsim.scenario.catalogue import entries
    from spdsim.scenario.target_files import load_model

    summaries = [_summary(load_model(name)) for name in entries("models")]
    if as_json:
        print_text(document_text({"models": [summary.to_document() for summary in summaries]}))
    else:
        print_models(summaries, Screen())


def _summary(model: "TargetModel") -> "ModelSummary":
    from spdsim.shapes.summary import ModelSummary

    return ModelSummary(
        name=model.name,
        origin=model.origin,
        source=model.source,
        hidden_size=model.hidden_size,
        layers=model.layers,
        num_params=model.num_params,
        num_active_params=model.num_active_params,
        weight_bytes=model.weight_bytes,
        embedding_bytes=model.embedding_bytes,
        head_bytes=model.head_bytes,
        head_params=model.vocab_size * model.hidden_size,
        is_tied=model.tied_embeddings,
    )
