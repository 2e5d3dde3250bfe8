"""Acceptance models fitted to verdicts: what was simulated comes back, and chance is no pattern."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product
from math import lgamma, log
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter
from rich.cells import cell_len
from rich.console import Console

from spdsim.acceptance import Acceptance, Bernoulli, BetaPerSequence, ByFillDepth, Markov, toss
from spdsim.acceptance_fit import Verdicts, fit_acceptance, fit_document, fragment_text, wilson
from spdsim.acceptance_fit.beta import fit_beta
from spdsim.acceptance_fit.document import table_text
from spdsim.acceptance_fit.families import Family, fit_bernoulli, fit_by_fill_depth
from spdsim.acceptance_fit.fit import AcceptanceFit
from spdsim.acceptance_fit.goodness import goodness
from spdsim.acceptance_fit.markov import fit_markov, markov_log_likelihood
from spdsim.acceptance_fit.shares import RUN_STARTS, run_labels, runs
from spdsim.acceptance_fit.verdicts import Table
from spdsim.calibration.drafts import acceptance_fits
from spdsim.calibration.observed import observe
from spdsim.cli.document import document_text
from spdsim.errors import InputError
from spdsim.render.acceptance import Told, print_acceptance
from spdsim.render.calibration_sheets import acceptance_sheet
from spdsim.render.look import Look
from spdsim.scenario.acceptance import Acceptance as Written
from spdsim.scenario.acceptance import acceptance_model
from spdsim.schedules import spd
from spdsim.schedules.spd import Layout
from spdsim.simulation import simulate
from tests.commands import spdsim
from tests.golden import check_golden
from tests.test_calibration import TRUTH, scenario

MODELS: dict[str, Acceptance] = {
    "bernoulli": Bernoulli(0.8),
    "by_fill_depth": ByFillDepth((0.5, 0.65, 0.8, 0.9)),
    "markov": Markov((0.95, 0.4), (0.95, 0.85)),
    "beta": BetaPerSequence(0.7, 6.0),
}
FOUR = Layout(4)
WAYS = {"bernoulli": fit_bernoulli, "by_fill_depth": fit_by_fill_depth, "markov": fit_markov, "beta": fit_beta}


def simulated(model: Acceptance, seed: int, sequences: int = 50, drafts: int = 60, layout: Layout = FOUR) -> Verdicts:
    """Return the verdicts that the simulator's schedule gives with the simulator's coins."""
    return Verdicts(
        tuple(_sequence(model, seed, sequence, drafts + 1 - sequence % 3, layout) for sequence in range(sequences)),
        layout.num_stages, layout.verification_lag,
    )  # fmt: skip


def _sequence(model: Acceptance, seed: int, sequence: int, num_tokens: int, layout: Layout) -> tuple[bool, ...]:
    state, found = spd.start(layout, num_tokens), []
    judge = spd.judge(state, toss(model, seed, sequence, num_tokens + layout.capacity + 2))
    while not state.is_done:
        verdict = judge.outcome(state)
        if verdict is not None and state.cycle >= 0:
            found.append(verdict.accepted)
        state = spd.advance(state, verdict)
    return tuple(found)


def truth(model: Acceptance) -> list[float]:
    match model:
        case Bernoulli(p):
            return [p]
        case ByFillDepth(by_depth):
            return list(by_depth)
        case Markov(by_state, stay):
            return [*by_state, *stay]
        case BetaPerSequence(p, concentration):
            return [p, concentration]
        case _:
            raise AssertionError


def ascii_art(fits: Sequence[tuple[AcceptanceFit, Told]], width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, _environ={})
    print_acceptance(fits, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def words(text: str) -> str:
    """Return a text without its lines."""
    return " ".join(text.split())


# What was simulated comes back.


@pytest.mark.parametrize("kind", MODELS)
def test_the_family_that_was_simulated_is_chosen_and_its_parameters_are_within_their_intervals(kind: str) -> None:
    """Of four sets of verdicts, each; an interval of 95 % may miss now and then, but not twice."""
    model = MODELS[kind]
    missed = np.zeros(len(truth(model)), int)
    for seed in range(4):
        table = Table.of(simulated(model, 100 + seed, sequences=40, drafts=50))
        families = {name: way(table) for name, way in WAYS.items()}
        assert min(families.values(), key=lambda family: family.bic).kind == kind
        for number, (estimate, value) in enumerate(zip(families[kind].estimates, truth(model), strict=True)):
            assert estimate.interval is not None
            missed[number] += not estimate.interval[0] <= value <= estimate.interval[1]
    assert missed.max() <= 1 and missed.sum() <= 2


def test_coins_are_not_called_a_pattern() -> None:
    """In 19 of 20 sets of independent verdicts, few or many, the one probability is chosen."""
    chosen = []
    for seed in range(20):
        table = Table.of(simulated(Bernoulli(0.75), seed, sequences=4 + 2 * seed, drafts=12))
        chosen.append(min((way(table) for way in WAYS.values()), key=lambda family: family.bic).kind)
    assert chosen.count("bernoulli") >= 19


@pytest.mark.parametrize("kind", MODELS)
def test_no_parameters_nearby_are_likelier(kind: str) -> None:
    """The Markov fit is at the top, or so close to it that no criterion changes, whatever verdicts are of."""
    table = Table.of(simulated(MODELS[kind], 3, sequences=12, drafts=40))
    found = fit_markov(table)
    assert isinstance(found.model, Markov)
    assert markov_log_likelihood(found.model, table) == pytest.approx(found.log_likelihood, abs=1e-6)
    values = np.array(truth(found.model))
    for index, step in product(range(4), (-1e-3, 1e-3)):
        near = values.copy()
        near[index] = np.clip(near[index] + step, 1e-9, 1 - 1e-9)
        model = Markov((near[0], near[1]), (near[2], near[3]))
        assert markov_log_likelihood(model, table) <= found.log_likelihood + 0.01
    assert found.model.p[0] >= found.model.p[1]


# Likelihoods.


def test_the_markov_likelihood_is_the_sum_over_all_strings_of_states() -> None:
    """For sequences of different lengths; an easy and a hard state at every place."""
    records = ((True, False, True, True), (False,), (True, True, False))
    model = Markov((0.9, 0.3), (0.8, 0.6))
    easy = model.easy_fraction
    expected = 0.0
    for record in records:
        total = 0.0
        for states in product((0, 1), repeat=len(record)):
            weight = easy if states[0] == 0 else 1 - easy
            for before, state in pairwise(states):
                weight *= model.stay[before] if before == state else 1 - model.stay[before]
            for state, accepted in zip(states, record, strict=True):
                weight *= model.p[state] if accepted else 1 - model.p[state]
            total += weight
        expected += log(total)
    assert markov_log_likelihood(model, Table.of(Verdicts(records, 3))) == pytest.approx(expected, rel=1e-12)


def test_the_beta_likelihood_is_that_of_the_beta_function() -> None:
    """B(a + A, b + R) / B(a, b) of each sequence."""
    verdicts = simulated(MODELS["beta"], 1, sequences=20)
    found = fit_beta(Table.of(verdicts))
    p, concentration = (estimate.value for estimate in found.estimates)
    a, b = p * concentration, (1 - p) * concentration

    def log_beta(x: float, y: float) -> float:
        return lgamma(x) + lgamma(y) - lgamma(x + y)

    counts = [(sum(record), len(record) - sum(record)) for record in verdicts.records]
    expected = sum(log_beta(a + right, b + wrong) - log_beta(a, b) for right, wrong in counts)
    assert found.log_likelihood == pytest.approx(expected, rel=1e-9)


def test_families_that_hold_another_are_at_least_as_likely() -> None:
    """One probability is a special case of all others; with no spread a Beta is as good as it."""
    table = Table.of(simulated(MODELS["bernoulli"], 5))
    one = fit_bernoulli(table)
    for way in (fit_by_fill_depth, fit_markov, fit_beta):
        assert way(table).log_likelihood >= one.log_likelihood - 0.01
    p = one.estimates[0].value
    assert one.log_likelihood == pytest.approx(
        table.accepted_ST.sum() * log(p) + (~table.accepted_ST & table.is_draft_ST).sum() * log(1 - p)
    )


# Whether it fits.


@pytest.mark.parametrize("kind", MODELS)
def test_draws_of_a_model_are_those_of_the_simulator(kind: str) -> None:
    """Runs and acceptance by fill depth, with a lag too: what is expected is what the simulator's coins give."""
    model, layout = MODELS[kind], Layout(3, verification_lag=1)
    verdicts = simulated(model, 11, sequences=400, drafts=40, layout=layout)
    found = goodness(model, Table.of(verdicts), layout.capacity, seed=2, num_draws=20)
    counted, expected = np.array(runs(verdicts)), np.array(found.runs)
    # Runs of one sequence are not independent, so that the spread is somewhat more than a count's.
    assert np.all(np.abs(counted - expected) < 6.0 * np.sqrt(expected + 1.0))
    for share, by_depth in zip(fit_document_shares(verdicts), found.by_depth, strict=True):
        assert by_depth == pytest.approx(share, abs=0.04)


def fit_document_shares(verdicts: Verdicts) -> list[float]:
    table = Table.of(verdicts)
    return [float(table.accepted_ST[table.depth_ST == depth].mean()) for depth in range(1, verdicts.capacity + 1)]


def test_verdicts_of_the_model_itself_fit_and_others_do_not() -> None:
    """A fit of another family is found out, by the view that tells them apart."""
    tables = {kind: Table.of(simulated(model, 21)) for kind, model in MODELS.items()}
    for kind, table in tables.items():
        right = goodness(WAYS[kind](table).model, table, 4, seed=1)
        assert right.p_value is not None and right.p_value > 0.05
    for kind, tells in (("markov", 0), ("by_fill_depth", 1), ("beta", 2)):
        wrong = goodness(fit_bernoulli(tables[kind]).model, tables[kind], 4, seed=1)
        assert wrong.checks[tells].p_value < 0.01
        assert wrong.p_value is not None and wrong.p_value < 0.05


def test_one_seed_gives_one_fit() -> None:
    """And another seed another p-value, but the same parameters."""
    verdicts = simulated(MODELS["markov"], 4, sequences=10)
    first, again, other = (fit_acceptance(verdicts, seed) for seed in (1, 1, 2))
    assert first == again
    assert first.families == other.families and first.goodness != other.goodness


def test_depths_beyond_the_stages_are_one() -> None:
    """With a lag of two, five are in flight and three in stages: a draft is made from those."""
    table = Table.of(simulated(MODELS["by_fill_depth"], 1, sequences=6, layout=Layout(3, verification_lag=2)))
    assert table.depth_ST.max() == 5
    model = fit_by_fill_depth(table).model
    full = table.depth_ST >= 3
    assert isinstance(model, ByFillDepth) and len(model.p) == 3
    assert model.p[2] == pytest.approx(table.accepted_ST[full].mean())


# What can hardly be fitted.


@pytest.mark.parametrize("verdict", [True, False])
def test_verdicts_that_all_agree_are_one_probability(verdict: bool) -> None:
    """Nothing else can be told, and that is said."""
    found = fit_acceptance(Verdicts(((verdict,) * 20, (verdict,) * 5), 4))
    assert found.chosen.model == Bernoulli(float(verdict))
    assert [family.kind for family in found.families] == ["bernoulli"]
    assert {kind for kind, _ in found.left_out} == {"by_fill_depth", "markov", "beta"}
    assert found.goodness.p_value is None
    low, high = found.overall.interval
    assert (high == 1.0 and low < 0.9) if verdict else (low == 0.0 and high > 0.1)
    assert "nothing tells families apart" in words(ascii_art([(found, Told("t"))], 80))


def test_one_sequence_tells_nothing_of_how_sequences_differ() -> None:
    """All else is fitted."""
    found = fit_acceptance(simulated(MODELS["by_fill_depth"], 2, sequences=1, drafts=400))
    assert dict(found.left_out) == {"beta": "there is one sequence: nothing tells how sequences differ"}
    assert found.chosen.kind == "by_fill_depth" and found.over_sequences is None


def test_sequences_of_one_draft_tell_nothing_of_runs_and_depths() -> None:
    """A single draft is made with y_1 alone in flight."""
    found = fit_acceptance(Verdicts(((True,), (False,), (True,), ()), 4))
    assert {kind for kind, _ in found.left_out} == {"markov", "by_fill_depth"}
    assert (found.overall.accepted, found.overall.count) == (2, 3)


def test_two_drafts_are_enough_to_answer() -> None:
    """With what little there is."""
    found = fit_acceptance(Verdicts(((True, False),), 2))
    assert found.overall.fraction == 0.5 and found.pace.num_cycles == 3
    document_text(fit_document(found))
    assert "0.500" in ascii_art([(found, Told("t"))], 80)


@pytest.mark.parametrize("records", [(), ((),), ((), ())])
def test_without_a_draft_there_is_nothing_to_say(records: tuple[tuple[bool, ...], ...]) -> None:
    """In one line."""
    with pytest.raises(InputError, match="no draft was verified: must be at least one"):
        fit_acceptance(Verdicts(records, 4))


def test_one_stage_drafts_nothing() -> None:
    """So that it has no verdicts."""
    with pytest.raises(InputError, match="stages is 1: must be at least 2"):
        Verdicts(((True,),), 1)


# What is read off.


def test_the_interval_of_a_share_is_wilsons() -> None:
    """Against values in print: 8 of 10, none of 10."""
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_runs_are_counted_up_to_each_rejection() -> None:
    """What the end of a sequence cuts off is no run."""
    verdicts = Verdicts(((False, True, False, True, True), (True, True, True, False)), 4)
    counted = dict(zip(run_labels(), runs(verdicts), strict=True))
    assert {label: count for label, count in counted.items() if count} == {"0": 1, "1": 1, "3-4": 1}
    assert run_labels()[-2:] == ("33-64", "65+") and len(run_labels()) == len(RUN_STARTS)


# What it gives.


@pytest.mark.parametrize("kind", MODELS)
def test_a_fragment_is_the_acceptance_of_a_scenario(kind: str) -> None:
    """It loads, as measured, and gives the model that was fitted."""
    family: Family = WAYS[kind](Table.of(simulated(MODELS[kind], 8)))
    text = fragment_text(family, "café: a run", "head\nmore")
    written = yaml.safe_load(text)["acceptance"]
    assert text.startswith("# head\n# more\nacceptance:\n  kind: ")
    assert (written["origin"], written["source"]) == (
        "measured",
        f"café: a run; fitted to {family.num_drafts:,} drafts",
    )
    loaded = acceptance_model(TypeAdapter(Written).validate_python(written), 4, 1)
    assert type(loaded) is type(family.model)
    assert truth(loaded) == pytest.approx(truth(family.model), rel=1e-5)


def test_several_numbers_of_stages_are_a_table() -> None:
    """Of their means."""
    fits = [fit_acceptance(simulated(Bernoulli(p), 1, 8, layout=Layout(n))) for n, p in ((2, 0.9), (4, 0.6))]
    written = yaml.safe_load(table_text(fits, "two runs", "head"))["acceptance"]
    TypeAdapter(Written).validate_python(written)
    assert written["kind"] == "by_stages" and list(written["p"]) == [2, 4]
    assert written["p"][4] == pytest.approx(fits[1].overall.fraction, rel=1e-5)


def test_what_people_see() -> None:
    """All of it, at 80 columns, kept; wider where there is room, and never wider than that."""
    found = fit_acceptance(simulated(MODELS["by_fill_depth"], 8, sequences=20, layout=Layout(4)))
    told = Told("verdicts", ("how they came to be",), found.pace.num_cycles, (("Note", "of note"),))
    check_golden("acceptance-80.txt", ascii_art([(found, told)], 80))
    other = fit_acceptance(simulated(MODELS["beta"], 8, sequences=6, layout=Layout(12, verification_lag=3)))
    for width in (80, 120):
        text = ascii_art([(found, told), (other, replace(told, counted_cycles=5))], width)
        assert max(map(cell_len, text.splitlines())) <= width and "…" not in text.replace("that were …", "")
        assert "By number of stages" in text and "counted were 5" in words(text)
        assert "n / (1 + (1 - p)(n + k - 1))" in text


def test_traces_tell_of_acceptance_where_nothing_was_forced() -> None:
    """Of all sequences of one cut together; what a header says to be decreed, or simulated, says nothing."""
    recorded = tuple("AAR" * 8 + "A" * sequence for sequence in range(3))
    replay = {"kind": "replay", "accepted": list(recorded)}
    workload = {"prompt_tokens": 8, "new_tokens": 25, "sequences": 3}
    forced = [simulate(scenario(n, TRUTH, workload=workload, acceptance=replay)) for n in (4, 3, 4)]
    own = [replace(trace, header=replace(trace.header, source="executor", mean_acceptance=None)) for trace in forced]
    assert acceptance_fits([observe(trace, "forced") for trace in forced]) == ()
    three, four = acceptance_fits([observe(trace, "own") for trace in own])
    assert (three.verdicts.num_stages, four.verdicts.num_stages) == (3, 4)
    assert three.verdicts.records == tuple(tuple(letter == "A" for letter in text[:24]) for text in recorded)
    assert four.verdicts.records == 2 * three.verdicts.records
    sheet = acceptance_sheet((three, four), Look())
    assert [row[:2] for row in sheet.rows] == [("3", "72"), ("4", "144")] and "n = 3, " in sheet.note


# The command.


def test_the_command_fits_recorded_verdicts(tmp_path: Path) -> None:
    """Screen, JSON and fragment are of one fit."""
    verdicts = simulated(MODELS["beta"], 5, sequences=12, drafts=30)
    lines = (json.dumps({"sequence": i, "accepted": list(record)}) for i, record in enumerate(verdicts.records))
    (tmp_path / "v.jsonl").write_text("\n".join(lines))
    words = ["acceptance", "v.jsonl", "--stages", "4"]
    shown = spdsim(*words, "--acceptance", "a.yaml", cwd=tmp_path)
    told = spdsim(*words, "--json", "-", cwd=tmp_path)
    assert (shown.returncode, shown.stderr, told.returncode) == (0, "", 0)
    document = json.loads(told.stdout)
    assert document["acceptance_probability"]["accepted"] == verdicts.num_accepted
    written = yaml.safe_load((tmp_path / "a.yaml").read_text())["acceptance"]
    assert written["kind"] == document["chosen"] and written["p"] == document["acceptance"]["p"]
    assert f"Acceptance {document['acceptance_probability']['mean']:.3f}" in shown.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["missing.jsonl", "--stages", "4"], "missing.jsonl: there is no such file"),
        (["empty.jsonl", "--stages", "4"], "empty.jsonl: is empty"),
        (["none.jsonl", "--stages", "4"], "none.jsonl: no draft was verified"),
        (["none.jsonl", "--stages", "1"], "--stages is 1: must be at least 2"),
        (["none.jsonl", "--stages", "2", "--verification-lag", "-1"], "--verification-lag is -1: must be at least 0"),
        (["none.jsonl", "--stages", "2", "--acceptance", "none.jsonl"], "none.jsonl: is what the command reads"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(words: list[str], expected: str, tmp_path: Path) -> None:
    """Where, value, rule."""
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "none.jsonl").write_text('{"sequence": 0, "accepted": []}')
    before = sorted(tmp_path.iterdir())
    done = spdsim("acceptance", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert expected in done.stderr
    assert sorted(tmp_path.iterdir()) == before
