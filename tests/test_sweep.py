"""Which points a sweep has, that each is what it says, and that what is kept of it goes on as if nothing had been."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from spdsim.errors import InputError, ScenarioError
from spdsim.evaluation import evaluate
from spdsim.render.look import Look
from spdsim.render.sweep import print_sweep
from spdsim.render.sweep_curve import Dot, curve, round_ticks
from spdsim.render.sweep_figure import check_figure, write_figure
from spdsim.render.sweep_map import heat_map
from spdsim.scenario import load_scenario
from spdsim.scenario.load import read_source
from spdsim.sweeping import Choice, Point, Spec, State, Sweep, parse_vary, sweep
from spdsim.sweeping.result import columns
from spdsim.sweeping.run import Effort, check_backend
from spdsim.sweeping.tables import check_parquet, write_csv, write_parquet
from spdsim.sweeping.vary import Span
from tests.commands import TUTORIAL

SHORT = ["workload.new_tokens=8", "replications=2"]


def spec(*vary: str, choice: Choice | None = None, settings: list[str] = SHORT, path: str = TUTORIAL) -> Spec:
    return Spec(read_source(path, settings), tuple(map(parse_vary, vary)), choice)


def swept(*vary: str, choice: Choice | None = None, **named: Any) -> Sweep:
    wanted = spec(*vary, choice=choice)
    points = sorted(sweep(wanted, **named), key=lambda point: point.number)
    return Sweep(wanted, named.get("effort", Effort()), tuple(points))


@pytest.mark.parametrize(
    ("values", "meant"),
    [
        ("1..4", [1, 2, 3, 4]),
        ("3..3", [3]),
        ("-1..1", [-1, 0, 1]),
        ("0.5..0.95:10", [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]),
        ("1..16:4", [1, 6, 11, 16]),
        ("1..2:3", [1.0, 1.5, 2.0]),
        ("1..1000:x4", [1, 10, 100, 1000]),
        ("1e-6..1e-4:x3", [1e-6, 1e-5, 1e-4]),
        ("8", [8]),
        ("own_device,stage_0", ["own_device", "stage_0"]),
        ("[0, 8], [0, 4, 8]", [[0, 8], [0, 4, 8]]),
        ("{kind: bernoulli, p: 0.8}, {kind: beta, p: 0.8, concentration: 4}",
         [{"kind": "bernoulli", "p": 0.8}, {"kind": "beta", "p": 0.8, "concentration": 4}]),
        ("true, null, 1e-3", [True, None, 1e-3]),
        ("../a.yaml,../b.yaml", ["../a.yaml", "../b.yaml"]),
    ],
)  # fmt: skip
def test_values_are_what_the_grammar_says(values: str, meant: list[Any]) -> None:
    """Integers stay integers, text stays text."""
    found = parse_vary(f"partition.stages={values}").values
    assert not isinstance(found, Span)
    assert [(type(value), value) for value in found] == [(type(value), value) for value in meant]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("partition.stages", "must be KEY=VALUES"),
        ("=1..2", "must be KEY=VALUES"),
        ("partition.stages=", "must be KEY=VALUES"),
        ("partition.stagse=1..2", "is not a known key: did you mean `partition.stages`?"),
        ("partitoin.stages=1..2", "is not a known key: did you mean `partition`?"),
        ("partition.stages=4..1", "the range 4..1 is empty"),
        ("partition.stages=1..4:1", "has 1 values: must have at least 2, its ends"),
        ("partition.stages=0..4:x3", "even ratios must begin above 0"),
        ("partition.stages=1..", "must be LO..HI"),
        ("partition.stages=1..4:", "must be LO..HI"),
        ("partition.stages=1...4", "must be LO..HI"),
        ("partition.stages=0..1000000000000", "values: must be at most 100,000"),
        ("partition.stages=1,2,1", "has 1 twice"),
        ("partition.stages=[1", "is not YAML"),
    ],
)
def test_what_is_no_value_is_told_in_one_line(text: str, said: str) -> None:
    """Which option, what it is, and the rule."""
    with pytest.raises((InputError, ScenarioError)) as error:
        parse_vary(text)
    assert said in str(error.value) and str(error.value).startswith("--vary") and "\n" not in str(error.value)


def test_keys_below_tables_and_of_other_kinds_may_vary() -> None:
    """What only some scenario knows is told with the points, not before."""
    for text in ("acceptance.concentration=1..2", "acceptance.p.8=0.5..0.9:2", "devices.gpu.memory_bytes=1e9,2e9"):
        assert parse_vary(text).key == text.partition("=")[0]


@pytest.mark.parametrize(
    ("vary", "choice", "said"),
    [
        ((), None, "--vary is not given"),
        (("partition.stages=1..2", "partition.stages=3"), None, "is given twice"),
        (("acceptance.p=0.5,0.6", "acceptance={kind: bernoulli, p: 0.1}"), None, "acceptance.p varies too"),
        (("acceptance.p=0.5..0.9",), None, "0.5..0.9 has no number of values: must be 0.5..0.9:COUNT"),
        (("seed=0..9999", "replications=1..1000"), None, "gives 10,000,000 points: must be at most 100,000"),
        (("partition.stages=1..4",), Choice(5, 0), "there are 4 points: must be at most as many"),
        (("partition.stages=1..4",), Choice(0, 0), "--random is 0"),
    ],
)
def test_points_that_cannot_be_meant_are_refused(vary: tuple[str, ...], choice: Choice | None, said: str) -> None:
    """Before anything is simulated."""
    with pytest.raises(InputError, match=said):
        spec(*vary, choice=choice)


def test_a_grid_has_every_combination_the_last_key_first() -> None:
    """In the order of the options."""
    found = list(spec("partition.stages=1..2", "acceptance.p=0.5,0.6,0.7").points())
    assert found == [(1, 0.5), (1, 0.6), (1, 0.7), (2, 0.5), (2, 0.6), (2, 0.7)]


def test_points_at_random_are_distinct_seeded_and_of_the_grid() -> None:
    """Ranges without a count give any number between their ends."""
    grid = ("partition.stages=1..8", "acceptance.p=0.5..0.95:10")
    some = [list(spec(*grid, choice=Choice(20, seed)).points()) for seed in (0, 0, 1)]
    assert some[0] == some[1] != some[2]
    assert len(set(some[0])) == 20 and set(some[0]) <= set(spec(*grid).points())
    anywhere = list(spec("acceptance.p=0.5..0.9", "partition.stages=1,2", choice=Choice(50, 0)).points())
    assert all(0.5 <= p <= 0.9 and stages in (1, 2) for p, stages in anywhere)
    assert len({p for p, _ in anywhere}) == 50


def test_each_point_is_the_scenario_with_its_values() -> None:
    """The figures are those of `evaluate` for what --set would give."""
    found = swept("partition.stages=2,4", "draft.placement=own_device,stage_0")
    for point in found.points:
        settings = [f"partition.stages={point.values[0]}", f"draft.placement={point.values[1]}"]
        assert point.evaluation == evaluate(load_scenario(TUTORIAL, [*SHORT, *settings]))


def test_a_point_that_breaks_a_rule_is_kept_with_its_reason() -> None:
    """The rest goes on."""
    found = swept("partition.stages=7..9")
    assert [point.evaluation is None for point in found.points] == [False, False, True]
    reason = "--vary partition.stages: partition.stages is 9: must be at most the model's 8 layers"
    assert found.errors == (found.points[2].error,) == (reason,)
    assert [row["error"] for row in found.rows()] == [None, None, reason]
    assert found.document()["points"][2]["time_per_token_s"] is None


def test_one_process_and_two_give_the_same_bit_for_bit() -> None:
    """With early stopping too."""
    vary, effort = ("partition.stages=1..9:5", "acceptance.p=0.6,0.9"), Effort(0.05, 20)
    assert swept(*vary, effort=effort, jobs=1) == swept(*vary, effort=effort, jobs=2)


@pytest.mark.parametrize("jobs", [1, 2, None])
def test_points_that_are_evaluated_together_are_those_of_each_alone(
    jobs: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some need the engine, some break a rule; in batches of all and of a few, here and in processes."""
    vary = ("partition.stages=1,2,8,9", "draft.placement=own_device,stage_0", "acceptance.p=0.6,0.9")
    alone = {point.number: point for point in swept(*vary).points}
    assert {point.evaluation.path for point in alone.values() if point.evaluation} == {"fast", "engine"}
    monkeypatch.setattr("spdsim.sweeping.run._BATCH_TOKENS", 40)
    monkeypatch.setattr("spdsim.sweeping.run._STARTING_S", 0.0)
    found = list(sweep(spec(*vary), jobs=jobs))
    assert len(found) == len(alone) == 16
    assert all(point == alone[point.number] for point in found)
    for point in alone.values():
        if point.evaluation:
            settings = [f"{each.key}={value}" for each, value in zip(spec(*vary).varied, point.values, strict=True)]
            assert point.evaluation == evaluate(load_scenario(TUTORIAL, [*SHORT, *settings]))


def test_the_best_is_the_least_time_and_the_most_of_all_else() -> None:
    """Points without the metric are not ranked."""
    found = swept("partition.stages=1..9:3")
    times = {point.number: point.evaluation.time_per_token_s.mean for point in found.points if point.evaluation}
    by_time = [point.number for point in found.ranked()]
    assert by_time == sorted(times, key=lambda number: times[number])
    by_rate = [point.number for point in replace(found, metric="tokens_per_s").ranked()]
    assert by_rate == by_time and len(by_time) == 2


@pytest.fixture
def wanted(tmp_path: Path) -> Spec:
    return spec("partition.stages=2,4,9", "acceptance.p=0.5,0.9")


def test_a_state_gives_back_what_was_kept_and_no_line_that_was_cut_off(tmp_path: Path, wanted: Spec) -> None:
    """Exactly, errors and floats included; the sweep that goes on equals one that was not interrupted."""
    path, effort = tmp_path / "a.partial", Effort()
    everything = list(sweep(wanted))
    with State(path, wanted, effort, is_resumed=False) as state:
        for point in (everything[0], everything[4], everything[2]):
            state.keep(point)
    path.write_text(path.read_text() + '{"point": 1, "err')
    with State(path, wanted, effort, is_resumed=True) as state:
        kept = [replace(point, origins=None) for point in (everything[0], everything[4], everything[2])]
        assert state.points == kept
        for point in sweep(wanted, done={point.number for point in state.points}):
            state.keep(point)
    assert all(json.loads(line) for line in path.read_text().splitlines())
    with State(path, wanted, effort, is_resumed=True) as state:
        points = tuple(sorted(state.points, key=lambda point: point.number))
        assert Sweep(wanted, effort, points).document() == Sweep(wanted, effort, tuple(everything)).document()
        state.forget()
    assert not path.exists()


@pytest.mark.parametrize(
    ("other", "effort", "said"),
    [
        (lambda: spec("partition.stages=2,4,9", "acceptance.p=0.5,0.8"), Effort(), "what varies was"),
        (lambda: spec("partition.stages=2,4,9", "acceptance.p=0.5,0.9", settings=["seed=1"]), Effort(), "the scenario"),
        (lambda: spec("partition.stages=2,4,9", "acceptance.p=0.5,0.9"), Effort(0.1), "--precision or --replications"),
        (lambda: spec("partition.stages=2,4,9", "acceptance.p=0.5,0.9", choice=Choice(3, 0)), Effort(), "--random or"),
    ],
)
def test_the_state_of_another_sweep_is_refused(
    tmp_path: Path, wanted: Spec, other: Any, effort: Effort, said: str
) -> None:
    """With what differs."""
    path = tmp_path / "a.partial"
    with State(path, wanted, Effort(), is_resumed=False) as state:
        state.keep(next(iter(sweep(wanted))))
    with pytest.raises(InputError, match=f"belongs to another sweep: {said}"):
        State(path, other(), effort, is_resumed=True)
    with pytest.raises(InputError, match="holds what an interrupted sweep has done"):
        State(path, wanted, Effort(), is_resumed=False)
    path.write_text("something else\n")
    with pytest.raises(InputError, match="is not the state of a sweep"):
        State(path, wanted, Effort(), is_resumed=True)


def test_a_point_whose_profile_has_changed_is_refused(tmp_path: Path) -> None:
    """The head cannot see it, the point's own scenario does."""
    text = "format: spd-profile\nversion: 1\norigin: assumed\nsource: a test\nforward: {}\ndraft: 1e-3\nverify: 0\n"
    profile = tmp_path / "p.yaml"
    profile.write_text(text.replace("{}", "2e-3"))
    wanted = spec(f"timing.profile={profile}", "partition.stages=2,4")
    path = tmp_path / "a.partial"
    with State(path, wanted, Effort(), is_resumed=False) as state:
        for point in sweep(wanted):
            state.keep(point)
    assert len(State(path, wanted, Effort(), is_resumed=True).points) == 2
    profile.write_text(text.replace("{}", "3e-3"))
    with pytest.raises(InputError, match="point 0 is another scenario now"):
        State(path, wanted, Effort(), is_resumed=True)


def test_rows_have_the_same_columns_whatever_became_of_the_point(tmp_path: Path) -> None:
    """And CSV tells floats with every digit, lists as JSON."""
    found = swept("partition.stages=4,9", "draft.anchors=[0, 4, 8],5")
    assert {tuple(row) for row in found.rows()} == {tuple(columns(found.keys))}
    write_csv(found, tmp_path / "a.csv")
    head, first, *_ = (tmp_path / "a.csv").read_text().splitlines()
    assert head.split(",") == columns(found.keys)
    assert first.startswith('0,4,"[0, 4, 8]",')
    evaluation = found.points[0].evaluation
    assert evaluation is not None and f",{evaluation.time_per_token_s.mean!r}," in first


def test_parquet_holds_the_rows_of_the_csv(tmp_path: Path) -> None:
    """Numbers as numbers; a column of several kinds as text."""
    parquet = pytest.importorskip("pyarrow.parquet")
    found = swept("partition.stages=4,9", "draft.anchors=[0, 4, 8],5")
    write_parquet(found, tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    rows = list(found.rows())
    assert [row | {"draft.anchors": None} for row in table] == [row | {"draft.anchors": None} for row in rows]
    assert [row["draft.anchors"] for row in table] == ["[0, 4, 8]", "5"] * 2


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_figure_names_its_axes_and_is_the_same_twice(tmp_path: Path, kind: str) -> None:
    """Units at the axes; a line for each value of the second key."""
    pytest.importorskip("matplotlib")
    found = replace(swept("partition.stages=1..4", "partition.lm_head=draft_rank,sharded"), metric="time_per_token")
    for name in ("a", "b"):
        write_figure(found, tmp_path / name, kind)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    if kind == "svg":
        text = (tmp_path / "a").read_text()
        for words in ("partition.stages", "time per token (ms)", "partition.lm_head", "sharded", "95 % intervals"):
            assert words in text


def test_a_figure_of_three_keys_is_refused() -> None:
    """Before the sweep, not after it."""
    pytest.importorskip("matplotlib")
    with pytest.raises(InputError, match="3 keys vary: must be one or two"):
        check_figure(spec("partition.stages=1..2", "acceptance.p=0.5,0.6", "seed=0..1"))


@pytest.mark.parametrize(
    ("missing", "check", "said"),
    [
        ("pyarrow.parquet", check_parquet, r"--parquet needs pyarrow, .*: pip install 'spdsim\[parquet\]'"),
        ("matplotlib", lambda: check_figure(spec("seed=0..1")), r"--plot needs .*: pip install 'spdsim\[plot\]'"),
        ("distributed", lambda: check_backend("dask"), "--backend is dask: .*: pip install dask distributed"),
        ("ray", lambda: check_backend("ray"), "--backend is ray: it is not installed: pip install ray"),
    ],
)
def test_what_is_not_installed_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch, missing: str, check: Any, said: str
) -> None:
    """A line that can be pasted."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=said):
        check()


@given(st.floats(1e-9, 1e9), st.floats(0.0, 1e6), st.integers(3, 8))
def test_ticks_are_even_round_and_enclose_the_values(low: float, share: float, count: int) -> None:
    """Not many more than asked for."""
    high = low * (1.0 + share)
    ticks = round_ticks(low, high, count)
    steps = [after - before for before, after in pairwise(ticks)]
    assert ticks[0] <= low * (1 + 1e-9) and high <= ticks[-1] * (1 + 1e-9)
    assert min(steps) > 0.0 and max(steps) <= min(steps) * (1 + 1e-6)
    assert 2 <= len(ticks) <= count + 2


def lines(text: str) -> Iterator[str]:
    return (line.rstrip() for line in text.splitlines())


def test_a_curve_shows_dots_intervals_and_round_numbers() -> None:
    """Without colour and without Unicode."""
    dots = [Dot(1.0, 2.0, 1.0, 3.0), Dot(2.0, 4.0, 4.0, 4.0), Dot(3.0, 3.0, 3.0, 3.0)]
    drawn = list(lines(curve(dots, width=30, look=Look(False, False), x_name="stages").plain))
    assert drawn == [
        "4 +            o.",
        "  |          ..  ...",
        "  |         ..      ...",
        "  |        ..         ....",
        "3 + |    ..              .o",
        "  | |   ..",
        "  | |  .",
        "  | |..",
        "2 + o.",
        "  | |",
        "  | |",
        "  | |",
        "1 + |",
        "  +-------------------------",
        "    1          2          3",
        "             stages",
    ]


def test_a_map_tells_its_numbers_and_the_best_without_colour() -> None:
    """A point without figures is a dash; what is too wide is not drawn."""
    values = {("1", "a"): 2.0, ("1", "b"): 3.0, ("2", "a"): 1.0}
    named = ("stages", ["1", "2"]), ("head", ["a", "b"])
    drawn = heat_map(values, *named, width=40, look=Look(False, False), ends=(3.0, 1.0))
    assert drawn is not None
    assert list(lines(drawn.plain)) == [
        "             head",
        "stages       a      b",
        "     1    2.00   3.00",
        "     2   *1.00      -",
    ]
    assert heat_map(values, *named, width=20, look=Look(False, False), ends=(3.0, 1.0)) is None


def printed(found: Sweep, width: int = 80, all_points: str | None = None) -> str:
    console = Console(width=width, color_system=None, file=StringIO())
    print_sweep(found, console, all_points=all_points)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal_and_no_figure_is_cut(width: int) -> None:
    """Columns go where there is no room; the best is marked, the reasons of others are told."""
    found = swept("partition.stages=7..9", "partition.verification_lag=0,1", "partition.lm_head=draft_rank,sharded")
    text = printed(found, width)
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    best = next(line for line in text.splitlines() if line.startswith("►"))
    assert best.split()[1:4] == [str(value) for value in found.ranked()[0].values]
    assert "4 of 12 points without figures" in text and "layers (4 points)" in text


def test_a_long_table_shows_the_best_and_where_the_rest_is() -> None:
    """Ten of them, by the metric."""
    found = replace(swept("acceptance.p=0.5..0.9:21"), metric="tokens_per_cycle")
    rows = printed(found, all_points="all.csv").partition("Points")[2].splitlines()
    assert sum(" ms " in row for row in rows) == 10
    assert "The best 10 of 21 points; all of them are in all.csv." in rows
    assert "--csv FILE keeps all of them" in printed(found)


def test_a_sweep_that_failed_throughout_is_printed_too() -> None:
    """No best, no table, the reasons."""
    wanted = spec("partition.stages=9,10")
    found = Sweep(wanted, Effort(), tuple(Point(n, (9 + n,), error="a reason") for n in range(2)))
    assert "2 of 2 points without figures" in printed(found) and "Points\n" not in printed(found)
