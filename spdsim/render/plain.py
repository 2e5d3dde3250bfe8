"""A validation of plain decoding for people: every row, the two groups, what is not known."""

from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.text import Text

from spdsim.render.blocks import bullets, heading, plain_table
from spdsim.render.look import Look
from spdsim.render.trim import Trimmed
from spdsim.render.validation import signed
from spdsim.validation.plain import LIMITS, PlainLine, PlainValidation


def print_plain(found: PlainValidation, console: Console) -> None:
    """Print `found` on `console`."""
    look = Look.of(console)
    for part in _parts(found, look):
        console.print(Trimmed(part))


def _parts(found: PlainValidation, look: Look) -> Iterator[RenderableType]:
    yield Text(f"Catalogue figures against {found.table}", look.style("bold"))
    yield ""
    heads = ("model", "GPU", "launch", "devices", "measured", "predicted", "error")
    rows = plain_table(look, heads, 3)
    for line in found.lines:
        row = line.row
        times = (_ms(row.token_s, look), _ms(line.predicted_s, look), _error(line, look))
        rows.add_row(row.model, row.gpu, row.launch, str(row.devices), *times)
    yield rows
    note = "Time of a token at batch size 1, tensor-parallel over several devices. Errors in brackets do not count."
    yield Text(note, look.style("dim"))
    if found.groups:
        yield from heading("Errors", look)
        groups = plain_table(look, ("", "rows", "mean", "mean size", "largest"), 1)
        for group in found.groups:
            groups.add_row(
                group.name, str(group.num_rows), signed(group.mean_error, look),
                f"{100 * group.mean_absolute_error:.1f} %", signed(group.largest_error, look),
            )  # fmt: skip
        yield groups
    yield from heading("What the figures cannot say", look)
    yield from bullets(LIMITS)


def _error(line: PlainLine, look: Look) -> str:
    error = signed(line.error, look)
    return error if line.is_counted or line.error is None else f"({error})"


def _ms(seconds: float | None, look: Look) -> str:
    return look.none if seconds is None else f"{1e3 * seconds:.2f} ms"
