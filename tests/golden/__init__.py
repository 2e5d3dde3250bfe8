"""Golden files: what people see, kept as text.

To accept a change on purpose, run the tests with SPDSIM_WRITE_GOLDEN=1 and read the difference.
"""

import os
from pathlib import Path

_HERE = Path(__file__).parent


def check_golden(name: str, text: str) -> None:
    """Compare `text` with the golden file `name`, or write it when SPDSIM_WRITE_GOLDEN is set."""
    path = _HERE / name
    if os.environ.get("SPDSIM_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{name} differs: SPDSIM_WRITE_GOLDEN=1 accepts the new text"
