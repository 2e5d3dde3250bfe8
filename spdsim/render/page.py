"""A page in HTML that shows what the terminal would, in colour; it needs no other file."""

import html
import io

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME

COLUMNS = 100

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="UTF-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ color: #1f2328; background: #ffffff; margin: 2em; }}
pre {{ font: 14px/1.25 Menlo, "DejaVu Sans Mono", Consolas, monospace; overflow-x: auto; }}
</style>
</head>
<body>
<pre>{code}</pre>
</body>
</html>
"""


def page_console() -> Console:
    """Return a console that keeps what is printed, for `page`."""
    return Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor",
        legacy_windows=False, no_color=False, highlight=False, _environ={},
    )  # fmt: skip


def page(console: Console, name: str) -> str:
    """Return what was printed on a console that records, as a page called `name`."""
    code = console.export_html(theme=DEFAULT_TERMINAL_THEME, code_format="{code}", inline_styles=True)
    return _PAGE.format(title=html.escape(name), code=code)
