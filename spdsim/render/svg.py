"""Pictures of what a terminal shows, as SVG: for a README, a report, a slide.

The picture brings its own dark background, so it is the same on a light and on a dark page.
"""

import html
import io
import os
import re
from collections.abc import Iterable

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

from spdsim.files import atomic_writer

_THEME = TerminalTheme(
    (22, 27, 34), (222, 226, 232),
    [(72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34),
     (88, 166, 255), (188, 140, 255), (57, 197, 207), (222, 226, 232)],
    [(110, 118, 129), (255, 161, 152), (86, 211, 100), (227, 179, 65),
     (121, 192, 255), (210, 168, 255), (86, 212, 221), (255, 255, 255)],
)  # fmt: skip

# rich's template loads fonts from the network; a picture should not.
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace", "Fira Code, DejaVu Sans Mono, Menlo, Consolas, monospace"
)


def save_svg(
    renderables: Iterable[RenderableType], path: str | os.PathLike[str], *, width: int, title: str = "spdsim"
) -> None:
    """Write `renderables`, one below the other in `width` columns, to `path` as a picture.

    Same input, same bytes. Raises InputError when the file cannot be written.
    """
    console = Console(
        record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor",
        legacy_windows=False, no_color=False, _environ={},
    )  # fmt: skip
    for renderable in renderables:
        console.print(renderable)
    picture = console.export_svg(title=title, theme=_THEME, code_format=_FORMAT)
    with atomic_writer(path) as file:
        file.write(_TEXT.sub(_trimmed, picture))


_TEXT = re.compile(
    r'x="([\d.]+)" y="([\d.]+)" textLength="([\d.]+)"( clip-path="[^"]*")>((?:&#160;)*)(.*?)((?:&#160;)*)</text>'
)
_BLANK = "&#160;"


def _trimmed(text: re.Match[str]) -> str:
    """Return a piece of text without the blanks around it, moved to where it stood: some viewers drop the blanks."""
    x, y, length, clip, before, middle, after = text.groups()
    num_before, num_after = len(before) // len(_BLANK), len(after) // len(_BLANK)
    num_shown = len(html.unescape(middle))
    cell = float(length) / max(num_before + num_shown + num_after, 1)
    return f'x="{float(x) + num_before * cell:g}" y="{y}" textLength="{num_shown * cell:g}"{clip}>{middle}</text>'
