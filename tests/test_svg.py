"""Pictures: a file that opens anywhere, the same every time."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from rich.text import Text

from spdsim.errors import InputError
from spdsim.render.svg import save_svg
from spdsim.render.timeline import timeline
from spdsim.schedules.spd import Layout
from tests.fakes import play

TRACE = play(Layout(4), "AAAAARAAAA")
NAMESPACE = "{http://www.w3.org/2000/svg}"


def picture(path: Path, width: int = 100) -> ElementTree.Element:
    save_svg([timeline(TRACE, width=width)], path, width=width, title="a title")
    return ElementTree.parse(path).getroot()


def test_a_picture_is_well_formed_and_holds_the_timeline(tmp_path: Path) -> None:
    """Title, labels and positions stand in it as text; blocks are coloured rectangles."""
    root = picture(tmp_path / "timeline.svg")
    texts = {"".join(text.itertext()).replace("\xa0", " ").strip() for text in root.iter(f"{NAMESPACE}text")}
    assert {"a title", "draft", "stage 3", "▼6", "forward, useful"} <= texts
    assert any(rect.get("fill") == "#1f5fa8" for rect in root.iter(f"{NAMESPACE}rect"))


def test_a_picture_needs_nothing_from_the_network(tmp_path: Path) -> None:
    """No font, no style sheet from elsewhere."""
    picture(tmp_path / "timeline.svg")
    text = (tmp_path / "timeline.svg").read_text()
    assert "@font-face" not in text
    assert "url(http" not in text


def test_no_text_begins_or_ends_with_a_blank(tmp_path: Path) -> None:
    """Some viewers drop such blanks and shift what follows them."""
    root = picture(tmp_path / "timeline.svg")
    blocks = [text for text in root.iter(f"{NAMESPACE}text") if text.get("textLength")]
    assert blocks
    assert all((text.text or "").strip("\xa0") == (text.text or "") for text in blocks)


def test_text_stands_where_the_terminal_puts_it(tmp_path: Path) -> None:
    """A piece without its blanks begins where its first letter stood; markup counts as one character."""
    together, x, _ = placed("ab   <d>  ", tmp_path)
    alone, moved, length = placed("     <d>", tmp_path)
    cell = length / len("<d>")
    assert (together, alone) == ("ab   <d>", "<d>")
    assert x == 0
    assert moved == pytest.approx(5 * cell)


def placed(line: str, tmp_path: Path) -> tuple[str, float, float]:
    """Return text, place and length of the only piece of text in a picture of `line`."""
    save_svg([Text(line)], tmp_path / "line.svg", width=20)
    root = ElementTree.parse(tmp_path / "line.svg").getroot()
    (piece,) = (t for t in root.iter(f"{NAMESPACE}text") if t.get("textLength") and (t.text or "").strip())
    return (piece.text or "").replace("\xa0", " "), float(piece.get("x", "nan")), float(piece.get("textLength", "nan"))


def test_the_picture_is_the_same_every_time(tmp_path: Path) -> None:
    """Same trace, same bytes, whatever the environment says of colours."""
    picture(tmp_path / "a.svg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_COLOR", "1")
        patch.setenv("TERM", "dumb")
        picture(tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_nothing_is_written_where_the_directory_is_missing(tmp_path: Path) -> None:
    """An InputError, as for any file."""
    with pytest.raises(InputError, match="does not exist"):
        picture(tmp_path / "nowhere" / "timeline.svg")
