"""What a cell of a timeline can show: its letter, its colours and its meaning.

The colours hold on light and on dark backgrounds, since a block brings its own foreground; useful work is
blue and green, lost work orange, which most colour-blind people tell apart. Without colour, letters stand in.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.text import Text

from spdsim.analysis.fate import ABANDONED, USEFUL, WASTED
from spdsim.render.look import Look


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of cell. `styles`: for even and for odd positions, so that neighbours differ."""

    letter: str
    meaning: str
    styles: tuple[str, str]


IDLE, LINK, HOST, PREFILL, FORWARD, WASTED_FORWARD, DRAFT, WASTED_DRAFT, VERIFY, ABANDONED_WORK = range(10)

KINDS = (
    Kind(".", "idle", ("dim", "dim")),
    Kind("~", "on the link", ("dim", "dim")),
    Kind("h", "host", ("#111111 on #e0b400", "#111111 on #e0b400")),
    Kind("P", "prefill", ("#ffffff on #566b80", "#ffffff on #566b80")),
    Kind("F", "forward, useful", ("#ffffff on #1f5fa8", "#ffffff on #3f83cc")),
    Kind("x", "forward, flushed", ("#ffffff on #b93c0a", "#ffffff on #d9622b")),
    Kind("D", "draft", ("#ffffff on #1f7a4d", "#ffffff on #33966a")),
    Kind("d", "draft, flushed", ("#111111 on #f0b48a", "#111111 on #f7cfae")),
    Kind("V", "verify", ("bold #ffffff on #7d3c98", "bold #ffffff on #7d3c98")),
    Kind("a", "abandoned", ("#111111 on #a3a9b3", "#111111 on #bcc1c9")),
)
"""By the constants above. `IDLE` and `LINK` have no block."""

_MIN_CELLS_PER_NAME = 3

REJECTION_STYLE = "bold #e0301e"

_KIND_OF_OP = {
    "prefill": PREFILL, "forward": FORWARD, "draft": DRAFT, "verify": VERIFY, "combine": VERIFY,
    "commit": HOST, "rollback": HOST,
}  # fmt: skip
_KIND_OF_FATE = {
    FORWARD: {USEFUL: FORWARD, WASTED: WASTED_FORWARD, ABANDONED: ABANDONED_WORK},
    DRAFT: {USEFUL: DRAFT, WASTED: WASTED_DRAFT, ABANDONED: ABANDONED_WORK},
}


def kind_of(op: str, fate: int) -> int | None:
    """Return the kind of a span of `op` with `fate`; posting a send is host work; None for a receipt."""
    if op.startswith("recv "):
        return None
    kind = _KIND_OF_OP.get(op, HOST)
    return _KIND_OF_FATE[kind][fate] if kind in _KIND_OF_FATE else kind


def glyph(kind: int, look: Look) -> str:
    """Return the character that fills a cell of `kind`."""
    if not look.colour:
        return KINDS[kind].letter
    wire, dot = ("╌", "·") if look.unicode else ("~", ".")
    return {IDLE: dot, LINK: wire}.get(kind, " ")


def block(kind: int, position: int, width: int, look: Look) -> Text:
    """Return `width` cells of one piece of work, with its position where there is room for it."""
    text = glyph(kind, look) * width
    if kind in (IDLE, LINK):
        return Text(text, look.style(KINDS[kind].styles[0]))
    if not look.colour:
        named = f"{KINDS[kind].letter}{position}"
        has_room = position >= 0 and kind not in (HOST, VERIFY) and len(named) <= width
        return Text(named.ljust(width, text[:1]) if has_room else text)
    return Text(_name_in(kind, position, width, look).center(width), KINDS[kind].styles[max(position, 0) % 2])


def _name_in(kind: int, position: int, width: int, look: Look) -> str:
    """The longest name of a coloured block that fits `width`: flushed work carries a cross."""
    cross = "×" if look.unicode else "x"  # noqa: RUF001 the sign, not the letter
    if kind in (HOST, PREFILL, VERIFY):
        return KINDS[kind].letter
    if position < 0:
        return ""
    names = [str(position)] if width >= _MIN_CELLS_PER_NAME else []
    if kind in (WASTED_FORWARD, WASTED_DRAFT):
        names = [f"{cross}{position}", *names, cross]
    return next((name for name in names if len(name) <= width), "")


def legend(kinds: Iterable[int], width: int, look: Look, *, has_rejections: bool = True) -> Text:
    """Return one line, or more where `width` is small, that says what each kind looks like."""
    entries = []
    for kind in sorted(set(kinds), key=_LEGEND_ORDER.index):
        sample = block(kind, -1, 3 if look.colour else 1, look)
        entries.append(Text.assemble(sample, " ", KINDS[kind].meaning))
    if has_rejections:
        entries.append(Text.assemble((look.mark, look.style(REJECTION_STYLE)), " rejection"))
    return _wrapped(entries, width)


_LEGEND_ORDER = (
    FORWARD, WASTED_FORWARD, DRAFT, WASTED_DRAFT, VERIFY, PREFILL, HOST, ABANDONED_WORK, LINK, IDLE,
)  # fmt: skip


def _wrapped(entries: list[Text], width: int) -> Text:
    lines: list[Text] = []
    for entry in entries:
        if lines and len(lines[-1]) + 2 + len(entry) <= width:
            lines[-1] = Text.assemble(lines[-1], "  ", entry)
        else:
            lines.append(entry)
    return Text("\n").join(lines)
