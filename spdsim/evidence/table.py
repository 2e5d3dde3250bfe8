"""A table of published speedups, a line for each method, configuration and data set.

theoretical_speedup: of SPD n K / C, with n stages, K new tokens and C cycles (the free first token counted); of other
methods what `spdsim.prediction.rivals` takes it for.
wall_speedup: tokens per second over those of plain decoding on one GPU of the same kind.
"""

from dataclasses import dataclass
from math import sqrt
from os import PathLike, fspath
from typing import Literal

from spdsim import theory
from spdsim.errors import InputError
from spdsim.evidence.sheet import Record, read_sheet

NEW_TOKENS = 512
"""New tokens of every published run (K), y_1 included."""

COLUMNS = (
    "model", "temperature", "method", "stages", "draft_layers_or_steps", "dataset", "baseline_tokens_per_s",
    "theoretical_speedup", "wall_speedup", "use",
)  # fmt: skip
NUMBERS = COLUMNS[1:2] + COLUMNS[3:5] + COLUMNS[6:9]
"""The columns that hold numbers."""

Method = Literal["spd", "ppsd", "eagle3"]
METHODS: dict[str, Method] = {"spd": "spd", "ppsd": "ppsd", "eagle3": "eagle3"}
"""The methods that can be predicted: speculative pipeline decoding; pipeline stages with an early exit that drafts
(PPSD); a head that drafts token by token, then a verification (EAGLE-3). Rows of others are skipped."""

USES = ("calibrate", "validate", "")
"""What a line may be for."""

RESERVED = (
    "status", "predicted_wall_speedup", "interval", "error_fraction", "is_counted", "full_cycle_s", "refill_s",
    "is_draft_bound", "beyond_evidence", "rule_wall_speedup", "rule_error_fraction",
)  # fmt: skip
"""What a validation says of a line beside its cells."""

MOST_STAGES, MOST_DRAFT_LAYERS = 10_000, 1_000
_LEAST_NUMBER, _MOST_NUMBER = 1e-6, 1e6
"""Beyond these a figure is a slip, and arithmetic would overflow far beyond."""

_ROUNDING = 0.005
"""Half of the last digit of a published speedup."""

ROUNDING_STD = 0.01 / sqrt(12.0)
"""Standard deviation of what rounding a speedup to two decimals takes away."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line that can be predicted.

    stages: 0 for a method without any. draft_layers: of eagle3 the drafts of a round.
    num_rejections: of SPD R, from the theoretical speedup by the law C = (K - 1) + (n - 1)(R + 1); not a whole number,
    for it is a mean. is_mean: the line is the mean of others and no evidence of its own.
    """

    place: str
    method: Method
    model: str
    temperature: float
    stages: int
    draft_layers: int
    dataset: str
    baseline_tokens_per_s: float
    theoretical_speedup: float
    num_rejections: float
    wall_speedup: float | None
    use: str

    @property
    def is_sampled(self) -> bool:
        """Whether tokens are sampled rather than the likeliest taken."""
        return self.temperature > 0.0

    @property
    def is_mean(self) -> bool:
        """Whether the line is a mean of the data sets."""
        return self.dataset.lower() == "overall"

    @property
    def token_s(self) -> float:
        """Seconds of a token in plain decoding."""
        return 1.0 / self.baseline_tokens_per_s


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was read: every line's cells, and the line as a row where it can be predicted."""

    path: str
    columns: tuple[str, ...]
    lines: tuple[tuple[Record, Row | None], ...]

    @property
    def rows(self) -> list[Row]:
        """The lines of SPD, which a profile is fitted to."""
        return [row for _, row in self.lines if row is not None and row.method == "spd"]

    @property
    def rivals(self) -> list[Row]:
        """The lines of other methods that can be predicted."""
        return [row for _, row in self.lines if row is not None and row.method != "spd"]


def read_table(path: str | PathLike[str]) -> Table:
    """Return the table in a CSV file.

    Raises InputError, one line: file and line, column, value and rule.
    """
    columns, records = read_sheet(path, COLUMNS, RESERVED)
    table = Table(fspath(path), columns, tuple((record, _row(record)) for record in records))
    _check_once(table)
    return table


def rejections(theoretical_speedup: float, stages: int, num_tokens: int = NEW_TOKENS) -> float:
    """Return R at which n K / C is `theoretical_speedup`: C = n K / S, R + 1 = (C - (K - 1)) / (n - 1).

    Rounding may lead a little beyond no rejection or K - 2 of them: then these are returned.
    """
    cycles = stages * num_tokens / theoretical_speedup
    refills = (cycles - (num_tokens - 1)) / (stages - 1)
    return min(max(refills - 1.0, 0.0), num_tokens - 2.0)


def _row(record: Record) -> Row | None:
    # A number must be one in lines that are skipped, too: a slip of columns shows there first.
    for column in NUMBERS:
        record.optional_number(column)
    if record.cells["use"] not in USES:
        raise record.error("use", "must be calibrate, validate or empty")
    method = METHODS.get(record.text("method").lower())
    if method is None:
        return None
    stages = 0 if method == "eagle3" else record.whole("stages", 2, MOST_STAGES)
    draft_layers = record.whole("draft_layers_or_steps", 1, MOST_DRAFT_LAYERS)
    speedup = _positive(record, "theoretical_speedup")
    _check_speedup(record, method, stages or draft_layers, speedup)
    wall = None
    if record.cells["wall_speedup"]:
        wall = _positive(record, "wall_speedup")
    return Row(
        place=record.place, method=method, model=record.text("model"), temperature=record.number("temperature"),
        stages=stages, draft_layers=draft_layers, dataset=record.text("dataset"),
        baseline_tokens_per_s=_positive(record, "baseline_tokens_per_s"), theoretical_speedup=speedup,
        num_rejections=rejections(speedup, stages) if method == "spd" else 0.0, wall_speedup=wall,
        use=record.cells["use"],
    )  # fmt: skip


def _positive(record: Record, column: str) -> float:
    value = record.number(column, is_above=True, most=_MOST_NUMBER)
    if value < _LEAST_NUMBER:
        raise record.error(column, f"must be at least {_LEAST_NUMBER:g}")
    return value


def _check_once(table: Table) -> None:
    """Raise InputError for a configuration that two lines give."""
    found: dict[tuple[object, ...], str] = {}
    for row in (*table.rows, *table.rivals):
        key = (row.method, row.model.lower(), row.temperature, row.stages, row.draft_layers, row.dataset.lower())
        if key in found:
            rule = "must be another model, temperature, stages, draft layers or dataset"
            raise InputError(f"{row.place}: gives the same configuration as {found[key]}: {rule}")
        found[key] = row.place


def _check_speedup(record: Record, method: Method, size: int, speedup: float) -> None:
    """Raise InputError for a speedup that no number of rejections gives. size: stages, or drafts of a round."""
    if method == "eagle3":
        if speedup > size + 1 + _ROUNDING:
            rule = f"must be at most {size + 1}, all drafts of a round and the target's own token"
            raise record.error("theoretical_speedup", rule)
        return
    tokens = NEW_TOKENS
    most = size * tokens / theory.cycles(tokens, 0, size)
    # A draft that is paid for may make it slower than plain decoding.
    least = size * tokens / theory.cycles(tokens, tokens - 2, size) if method == "spd" else 0.0
    if not least - _ROUNDING <= speedup <= most + _ROUNDING:
        rule = f"must be {least:.2f} to {most:.2f} with {size} stages and {tokens} tokens"
        raise record.error("theoretical_speedup", rule)
