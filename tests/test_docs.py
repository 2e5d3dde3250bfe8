"""The documentation is true: its blocks run, its outputs are current, its links lead somewhere."""

import re
from pathlib import Path

import pytest

from spdsim.analysis.report import Report
from tools.pages import ROOT, all_pages, refreshed
from tools.reference import generated

PAGES = [str(page.relative_to(ROOT)) for page in all_pages()]


@pytest.mark.parametrize("name", PAGES)
def test_every_block_of_a_page_runs_and_gives_the_output_shown(name: str) -> None:
    """If only outputs differ, `make docs` puts the new ones in place."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert refreshed(text) == text


def test_generated_files_are_current() -> None:
    """Reference pages and picture are what the code would write now: run `make docs`.

    The fitted profile has a test of its own: its last digits are the processor's.
    """
    current = [(path, text) for path, text in generated().items() if path.suffix != ".yaml"]
    assert [path.name for path, text in current if path.read_text(encoding="utf-8") != text] == []


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_that_exist(name: str) -> None:
    """Links within the project only; no test needs a network."""
    page = ROOT / name
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_sentence_has_a_line_of_its_own(name: str) -> None:
    """Prose only: tables, code and headings have their own rules."""
    text = re.sub(r"^```.*?^```$", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    prose = [line for line in text.splitlines() if line and not line.startswith(("|", "#", " ", "![", "- "))]
    assert [line for line in prose if re.search(r"[.?!] [A-Z]", line)] == []


def test_every_key_of_the_json_document_is_described() -> None:
    """The page lists each figure of a report by its key."""
    page = (ROOT / "docs/reference/json.md").read_text(encoding="utf-8")
    assert [key for key in Report.__dataclass_fields__ if f"`{key}`" not in page] == []


def test_no_page_names_a_path_of_some_machine() -> None:
    """Pages must read the same for everybody."""
    texts = {page: Path(page).read_text(encoding="utf-8") for page in all_pages()}
    assert [str(page) for page, text in texts.items() if re.search(r"(?<![\w.])/(home|work|root|Users)/", text)] == []
