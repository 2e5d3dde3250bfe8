"""What `spdsim gpus` and `spdsim links` share: a catalogue, or one entry of it, as a table or as JSON."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

Catalogue = Literal["gpus", "links"]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print the raw figures as JSON, in bytes and seconds.")]


def print_catalogue(section: Catalogue, as_json: bool) -> None:
    """Print every entry of a catalogue in one line, or all as JSON."""
    from spdsim.cli.document import document_text
    from spdsim.cli.screen import Screen, print_text
    from spdsim.render.hardware import catalogue_table
    from spdsim.render.look import Look
    from spdsim.scenario.catalogue import entries

    if as_json:
        print_text(document_text({name: _raw(section, name) for name in entries(section)}))
        return
    screen = Screen()
    look = Look.of(screen)
    _print(screen, catalogue_table(entries(section), look))
    _print(screen, f"Sources and further names: spdsim {section} show NAME")


def print_entry(section: Catalogue, written: str, as_json: bool) -> None:
    """Print the entry that is called `written` in full. Raises InputError if there is none."""
    from spdsim.cli.document import document_text
    from spdsim.cli.screen import Screen, print_text
    from spdsim.errors import InputError, ScenarioError
    from spdsim.render.hardware import entry_table
    from spdsim.render.look import Look
    from spdsim.scenario.catalogue import aliases, canonical_name, entries

    try:
        name = canonical_name(section, written)
    except ScenarioError as rule:
        raise InputError(f"{section} show: NAME is {written}: {rule}") from None
    if as_json:
        print_text(document_text({name: _raw(section, name)}))
        return
    screen = Screen()
    _print(screen, entry_table(name, entries(section)[name], aliases(section)[name], Look.of(screen)))


def _raw(section: Catalogue, name: str) -> dict[str, Any]:
    from spdsim.scenario.catalogue import aliases, entries

    return {"aliases": list(aliases(section)[name]), **entries(section)[name]}


def _print(screen: Any, what: "RenderableType") -> None:
    from spdsim.render.trim import Trimmed

    screen.print(Trimmed(what))
