"""`spdsim gpus` and `spdsim links` as people meet them."""

import json
from typing import Any

import pytest

from spdsim.render.hardware import HEADS, MARKS, readable
from spdsim.scenario.catalogue import Section, aliases, entries
from tests.commands import spdsim, spdsim_alone

SECTIONS: tuple[Section, ...] = ("gpus", "links")


def strict(text: str) -> Any:
    """Parse JSON and refuse what only Python reads."""

    def refuse(name: str) -> Any:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_catalogue_is_one_table_of_80_columns(section: Section) -> None:
    """A line for each entry, a marked figure for each key, no colour, nothing on stderr."""
    done = spdsim(section, COLUMNS="80", NO_COLOR="1")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80 and "\x1b" not in done.stdout
    rows = {line.split()[0]: line.split()[1:] for line in lines[2 : lines.index("")]}
    for name, entry in entries(section).items():
        shown = [(readable(key, entry[key]["value"])[0], MARKS[entry[key]["origin"]]) for key in HEADS if key in entry]
        assert rows.pop(name) == [word for pair in shown for word in pair]
    assert rows == {}
    assert "m measured, p published, d datasheet, a assumed" in done.stdout


@pytest.mark.parametrize(
    ("section", "written", "name"),
    [("gpus", "RTX 4090", "rtx-4090"), ("gpus", "h200", "h200-sxm"), ("links", "gloo", "loopback")],
)
def test_an_entry_is_shown_in_full(section: Section, written: str, name: str) -> None:
    """Every figure with its key, value, origin and the whole of its source; and the other names."""
    done = spdsim(section, "show", written, COLUMNS="80", NO_COLOR="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    wide = spdsim(section, "show", written, COLUMNS="400", NO_COLOR="1").stdout
    assert wide.splitlines()[:2] == [name, f"also called {', '.join(aliases(section)[name])}"]
    for key, figure in entries(section)[name].items():
        line = next(line for line in wide.splitlines() if line.startswith(f"{key} "))
        words = (*readable(key, figure["value"]), figure["origin"], *figure["source"].split())
        assert line.split() == [key, *words]


@pytest.mark.parametrize("section", SECTIONS)
def test_json_has_the_raw_figures(section: Section) -> None:
    """Strict JSON, in bytes and seconds, with origins and sources; the option may stand on either side of `show`."""
    document = strict(spdsim(section, "--json").stdout)
    others = aliases(section)
    assert document == {name: {"aliases": list(others[name]), **entry} for name, entry in entries(section).items()}
    name = next(iter(document))
    for words in ((section, "show", name, "--json"), (section, "--json", "show", name)):
        assert strict(spdsim(*words).stdout) == {name: document[name]}


@pytest.mark.parametrize(
    ("section", "written", "rule"),
    [
        ("gpus", "h10", f"must be one of {', '.join(entries('gpus'))} (did you mean h100-sxm?)"),
        ("links", "pcie", "must be pcie4, pcie4-no-p2p (such as RTX 4090) or pcie5"),
    ],
)
def test_a_name_that_is_not_known_is_one_line_on_stderr(section: Section, written: str, rule: str) -> None:
    """Exit code 2, as for every wrong input."""
    done = spdsim(section, "show", written)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"spdsim: error: {section} show: NAME is {written}: {rule}\n"


def test_a_terminal_without_unicode_gets_ascii() -> None:
    """us for microseconds."""
    done = spdsim_alone("gpus", PYTHONUTF8="0", PYTHONIOENCODING="ascii", NO_COLOR="1")
    assert done.returncode == 0
    assert done.stdout.isascii() and " us " in done.stdout and "?" not in done.stdout


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("bandwidth_bytes_per_s", 3350e9, ("3,350", "GB/s")),
        ("memory_bytes", 80 * 2.0**30, ("80", "GiB")),
        ("flops_per_s", 989e12, ("989", "TFLOP/s")),
        ("kernel_latency_s", 3.6e-6, ("3.6", "µs")),
        ("bandwidth_fraction", 0.845, ("84.5", "%")),
        ("latency_s", 20e-6, ("20", "µs")),
    ],
)
def test_figures_are_told_in_units_that_people_read(key: str, value: float, text: tuple[str, str]) -> None:
    """The end of the key says the unit."""
    assert readable(key, value) == text
