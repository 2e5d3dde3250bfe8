"""Rules of options that several commands have."""

from math import inf
from pathlib import Path

from spdsim.errors import InputError

_PAGES = (".md", ".html")


def check_tolerance(tolerance: float | None) -> None:
    """Raise InputError for a --tolerance that is no fraction."""
    if tolerance is not None and not 0.0 <= tolerance < inf:
        raise InputError(f"--tolerance is {tolerance:g}: must be a fraction of at least 0, such as 0.05")


def check_page(report_file: Path | None) -> None:
    """Raise InputError for a --report that is neither Markdown nor HTML."""
    if report_file is not None and report_file.suffix.lower() not in _PAGES:
        raise InputError(f"--report is {report_file}: must end in {' or '.join(_PAGES)}")
