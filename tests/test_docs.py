"""The documentation is true: its blocks run, its outputs are current, its links lead somewhere."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from spdsim.analysis.report import Report
from tests.commands import forked
from tools import executor_page, pages, reference
from tools.pages import ROOT, all_pages, refreshed
from tools.reference import generated

PACKAGES = {"spdsim": "spdsim", "spdsim-exec": "executor"}

PAGES = [str(page.relative_to(ROOT)) for page in all_pages()]


def forked_command(line: str) -> str:
    """Run a line of a page as `tools.pages` does, but a plain command without the start of an interpreter.

    A line with something for a shell to do is left to one, and so are commands that start processes of their own.
    """
    words = shlex.split(line, comments=True)
    if not words or words[0] not in PACKAGES or re.search(r"[|&;<>$*`]", line) or "--backend" in words:
        return command_of_a_page(line)
    done = forked(PACKAGES[words[0]], words[1:], pages.environment(), is_one_stream=True)
    assert done.returncode in (0, 2) and "Traceback" not in done.stdout, f"{line}: {done.stdout}"
    return re.sub(r" +$", "", done.stdout, flags=re.MULTILINE)


command_of_a_page = pages._command


@pytest.mark.parametrize("name", PAGES)
def test_every_block_of_a_page_runs_and_gives_the_output_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If only outputs differ, `make docs` puts the new ones in place."""
    # The README's blocks are what people paste first: they run as they will there.
    if name != "README.md":
        monkeypatch.setattr(pages, "_command", forked_command)
    text = (ROOT / name).read_text(encoding="utf-8")
    assert refreshed(text) == text


def help_of(package: str) -> Callable[..., str]:
    return lambda *words: forked(package, [*words, "--help"], {**pages.environment(), "COLUMNS": "100"}).stdout


def test_generated_files_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reference pages and picture are what the code would write now: run `make docs`.

    The fitted profile has a test of its own: its last digits are the processor's.
    """
    monkeypatch.setattr(reference, "_help", help_of("spdsim"))
    monkeypatch.setattr(executor_page, "_help", help_of("executor"))
    monkeypatch.setattr(reference, "published_profile", str)
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
