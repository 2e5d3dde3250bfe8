"""What reports are put together from: headings, lists, plain tables.

Knows nothing of what they say.
"""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from spdsim.render.look import Look


def bullets(sentences: Iterable[str]) -> Iterator[RenderableType]:
    """Yield a paragraph for each sentence, its first line hanging."""
    for sentence in sentences:
        table = Table.grid(padding=(0, 1))
        table.add_row("-", sentence)
        yield Padding(table, (0, 0))


def plain_table(look: Look, heads: Sequence[str], num_left: int) -> Table:
    """Return an empty table with these heads; the first `num_left` columns are set to the left."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style=look.style("dim"))
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index < num_left else "right", no_wrap=True, vertical="bottom")
    return table


def heading(text: str, look: Look) -> Iterator[RenderableType]:
    """Yield a blank line and the head of a part."""
    yield ""
    yield Text(text, look.style("bold"))
