"""Reading a CSV file with a head line: cells by column, and one line for whatever is wrong with one."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from io import StringIO
from math import inf, isfinite
from os import PathLike, fspath

from spdsim.errors import InputError
from spdsim.files import read_text


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a file: its place ("file:line") and its cells by column."""

    place: str
    cells: dict[str, str]

    def error(self, column: str, rule: str) -> InputError:
        """Return the error of a cell that breaks a rule."""
        cell = self.cells[column]
        state = f"is {cell if _is_number(cell) else repr(cell)}" if cell else "is missing"
        return InputError(f"{self.place}: {column} {state}: {rule}")

    def text(self, column: str) -> str:
        """Return a cell that must not be empty."""
        if not self.cells[column]:
            raise self.error(column, "must be given")
        return self.cells[column]

    def number(self, column: str, *, least: float = 0.0, is_above: bool = False, most: float = inf) -> float:
        """Return a finite number of at least `least`, or above it, and at most `most`."""
        value = self.optional_number(column)
        if value is None:
            raise self.error(column, "must be given")
        if value < least or (is_above and value == least):
            raise self.error(column, f"must be {'greater than' if is_above else 'at least'} {least:g}")
        if value > most:
            raise self.error(column, f"must be at most {most:g}")
        return value

    def optional_number(self, column: str) -> float | None:
        """Return a finite number, or None for an empty cell."""
        cell = self.cells[column]
        if not cell:
            return None
        if not _is_number(cell):
            raise self.error(column, "must be a number")
        value = float(cell)
        if not isfinite(value):
            raise self.error(column, "must be finite")
        return value

    def whole(self, column: str, least: int, most: float = inf) -> int:
        """Return a whole number of at least `least` and at most `most`."""
        value = self.number(column, least=least, most=most)
        if value != int(value):
            raise self.error(column, "must be a whole number")
        return int(value)


def read_sheet(
    path: str | PathLike[str], columns: Sequence[str], reserved: Sequence[str] = ()
) -> tuple[tuple[str, ...], list[Record]]:
    """Return the head and the records of a CSV file that has at least `columns`; blank lines are left out.

    reserved: names that no column may have, for a report has its own figures there.

    Raises InputError, one line, where the file cannot be read, is empty, lacks or repeats a column, or has characters
    that cannot be printed.
    """
    name = fspath(path)
    reader = csv.reader(StringIO(read_text(name), newline=""), strict=True)
    head: tuple[str, ...] = ()
    records: list[Record] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            place = f"{name}:{reader.line_num}"
            if not head and len(cells) == 1 and "\t" in cells[0]:
                raise InputError(f"{place}: has tabs between its columns' names: the separator must be a comma")
            for cell in cells:
                if not cell.isprintable():
                    raise InputError(f"{place}: has the cell {cell!a}: must be text without control characters")
            if not head:
                head = tuple(cells)
                _check_head(head, columns, reserved, place)
                continue
            if len(cells) != len(head):
                raise InputError(f"{place}: has {len(cells)} cells: must have {len(head)}, one for each column")
            records.append(Record(place, dict(zip(head, cells, strict=True))))
    except csv.Error as error:
        raise InputError(f"{name}:{reader.line_num}: is not CSV: {error}") from None
    if not records:
        raise InputError(f"{name}: is empty: must have a line for each measurement below the columns' names")
    return head, records


def _check_head(head: tuple[str, ...], columns: Sequence[str], reserved: Sequence[str], place: str) -> None:
    if len(head) == 1 and ";" in head[0]:
        raise InputError(f"{place}: has semicolons between its columns' names: the separator must be a comma")
    for column in columns:
        if column not in head:
            close = get_close_matches(column, [name for name in head if name not in columns], 1)
            hint = f" (is it {close[0]!r}?)" if close else ""
            raise InputError(f"{place}: column {column} is missing: must be among the columns{hint}")
    for column in head:
        if column in reserved:
            raise InputError(f"{place}: column {column} is a figure of the report: must have another name")
        if head.count(column) > 1:
            raise InputError(f"{place}: column {column or repr('')} is given {head.count(column)} times: must be once")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell
