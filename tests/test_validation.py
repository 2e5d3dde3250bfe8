"""Validation: the figures that the profile reaches, and a report that can be trusted."""

import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from spdsim.cli.document import document_text
from spdsim.evidence import read_table
from spdsim.evidence.table import COLUMNS, RESERVED
from spdsim.render.validation import print_validation
from spdsim.scenario.profile import Profile
from spdsim.scenario.profile_file import load_profile
from spdsim.validation import Validation, validate_table, validation_document
from tests.published import PROFILE, Cells, changed_table, table

KNOWN = load_profile(PROFILE)
FOUND = validate_table(KNOWN, table(), name="p.yaml")
GROUPS = {(group.by, group.value): group for group in FOUND.groups}


def test_the_figures_to_reach_are_reached() -> None:
    """Mean absolute error of wall speedups, rows of single data sets."""
    assert GROUPS["use", "calibrate"].mean_absolute_error <= 0.015
    assert GROUPS["use", "validate"].mean_absolute_error <= 0.025
    assert FOUND.grade == "A"


def test_every_group_is_nearer_than_the_one_line_rule() -> None:
    """By use, stages, temperature, model, and all together."""
    assert GROUPS.keys() == {
        ("all", "all"), ("use", "calibrate"), ("use", "validate"), ("stages", "4"), ("stages", "8"),
        ("temperature", "0"), ("temperature", "1"), ("model", "Qwen3.5-4B"),
        ("ppsd", "calibrate"), ("ppsd", "validate"), ("eagle3", "calibrate"), ("eagle3", "validate"),
    }  # fmt: skip
    for group in FOUND.groups:
        if group.rule_mean_absolute_error is not None and group.rule_largest_error is not None:
            assert group.mean_absolute_error < group.rule_mean_absolute_error
            assert abs(group.largest_error) < abs(group.rule_largest_error)
        else:
            assert group.by in ("ppsd", "eagle3")


def test_intervals_hold_the_published_figures() -> None:
    """All of them: about one in twenty may be missed, and here are thirty-two."""
    for line in FOUND.lines:
        if line.row is not None and line.prediction is not None and line.row.wall_speedup is not None:
            assert line.prediction.low <= line.row.wall_speedup <= line.prediction.high


def test_means_of_rows_are_shown_and_do_not_count() -> None:
    """Twelve rows of single data sets carry the groups of SPD."""
    assert GROUPS["all", "all"].num_rows == 12
    own = [line for line in FOUND.lines if line.row is not None and line.row.method == "spd"]
    assert sum(line.error is not None for line in own) == 16


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def predictions(found: Validation) -> list[float | None]:
    """Return every line's prediction."""
    return [line.prediction.wall_speedup if line.prediction else None for line in found.lines]


@pytest.mark.parametrize("poison", ["9.99", ""])
def test_poisoned_wall_speedups_change_no_prediction(poison: str, tmp_path: Path) -> None:
    """Nor do rows without one, which are predicted all the same and have no error."""

    def change(cells: Cells) -> Cells:
        return {**cells, "wall_speedup": poison}

    found = validate_table(KNOWN, read_table(changed_table(tmp_path / "t.csv", change)), name="p.yaml")
    assert predictions(found) == predictions(FOUND)
    statuses = {line.status for line in found.lines}
    assert statuses == ({"ok"} if poison else {"predicted"})
    if not poison:
        assert found.groups == () and found.grade is None


def test_the_document_is_strict_json_with_every_column() -> None:
    """The table's own columns, then what was predicted."""
    document = json.loads(document_text(validation_document(FOUND)), parse_constant=_refuse)
    assert len(document["rows"]) == 32
    for line in document["rows"]:
        assert tuple(line)[: len(COLUMNS)] == COLUMNS
        assert line["status"] == "ok"
        low, high = line["interval"]
        assert low < line["predicted_wall_speedup"] < high
        ratio = line["predicted_wall_speedup"] / line["wall_speedup"]
        assert line["error_fraction"] == pytest.approx(ratio - 1.0)
    assert document["rows"][16]["stages"] == 4 and document["rows"][0]["stages"] is None
    assert [group["by"] for group in document["groups"]][:3] == ["all", "use", "use"]
    assert document["profile"]["version"] == 1 and document["limits"]


def test_no_column_of_a_table_can_hide_a_figure_of_the_report() -> None:
    """The names that a table must not use are those that the document adds."""
    line = validation_document(FOUND)["rows"][0]
    assert tuple(line)[len(COLUMNS) :] == RESERVED


def test_groups_add_up() -> None:
    """Mean, size and largest are those of the rows."""
    own = [line for line in FOUND.lines if line.row is not None and line.row.method == "spd"]
    errors = [line.error for line in own if line.is_counted and line.error is not None]
    group = GROUPS["all", "all"]
    assert group.mean_error == pytest.approx(sum(errors) / 12)
    assert group.mean_absolute_error == pytest.approx(sum(map(abs, errors)) / 12)
    assert group.largest_error == max(errors, key=abs)


@pytest.mark.parametrize(("error", "grade"), [(0.02, "A"), (0.04, "B"), (0.09, "C"), (0.2, "D")])
def test_the_grade_follows_the_mean_absolute_error(error: float, grade: str) -> None:
    """And is D where the one-line rule is better."""
    group = replace(GROUPS["use", "validate"], mean_absolute_error=error, rule_mean_absolute_error=1.0)
    assert replace(FOUND, groups=(group,)).grade == grade
    worse = replace(group, rule_mean_absolute_error=error / 2)
    by_rule = replace(FOUND, groups=(worse,))
    assert by_rule.grade == "D" and by_rule.is_rule_nearer and not replace(FOUND, groups=(group,)).is_rule_nearer
    with (console := Console(width=80, record=True, file=StringIO())):
        print_validation(by_rule, console)
    assert "nearer than the profile: hence grade D" in " ".join(console.export_text().split())


def test_what_is_beyond_the_evidence_is_said(tmp_path: Path) -> None:
    """Sixteen stages, the larger model, sampling elsewhere: in the row and among the limits."""

    def change(cells: Cells) -> Cells:
        is_eight = cells["method"] == "spd" and cells["stages"] == "8"
        return {**cells, "stages": "16", "model": "Qwen3.5-9B", "temperature": "1"} if is_eight else cells

    found = validate_table(KNOWN, read_table(changed_table(tmp_path / "t.csv", change)), name="p.yaml")
    told = " ".join(found.limits)
    assert "measured with 4 to 8 stages on 1 to 2 nodes" in told and "launch eager" in told
    for words in ("16 stages", "qwen3.5-9b", "sampling with 16 stages", "3 nodes", "the draft sets the pace"):
        assert words in told
    own = [line.prediction for line in found.lines if line.row is not None and line.row.method == "spd"]
    assert sum(bool(prediction and prediction.outside) for prediction in own) == 8


def test_a_profile_that_says_nothing_of_itself_is_told_apart() -> None:
    """No interval, on the screen or in JSON, and no sentence on where it was measured."""
    bare = Profile.model_validate(KNOWN.model_dump(exclude={"range", "backing"}, exclude_unset=True))
    found = validate_table(bare, table(), name="p.yaml")
    assert "The profile does not say where it was measured" in " ".join(found.limits)
    assert not re.search("eager|stages", " ".join(found.limits))
    rows = validation_document(found)["rows"]
    assert all(row["interval"] is None for row in rows) and any(row["predicted_wall_speedup"] for row in rows)
    out = StringIO()
    print_validation(found, Console(file=out, width=80))
    text = out.getvalue()
    assert not re.search(r"\d to \d", text.partition("Rows that")[2].partition("Errors")[0])
    assert re.search(r"1\.90 +1\.90 +\S +-0\.2 %", text)
    assert "of the 3 validate rows of SPD" in text


def test_one_stage_and_one_node_are_one() -> None:
    """A range of one value is told as that."""
    data = KNOWN.model_dump(exclude_unset=True) | {"range": {"stages": [4, 4], "nodes": [1, 1], "sampled_stages": []}}
    told = " ".join(validate_table(Profile.model_validate(data), table(), name="p.yaml").limits)
    assert "measured with 4 stages on 1 node:" in told and "Sampling was not measured" in told
