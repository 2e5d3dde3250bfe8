"""`spdsim compare`: methods on the same devices, best first, and where the answer changes."""

import csv
import json
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from spdsim.choice.compare import Ranking, Row, compare
from spdsim.choice.crossover import Crossover, crossovers, with_acceptance, with_latency
from spdsim.errors import InputError
from spdsim.evaluation import evaluate_method
from spdsim.methods import Method, methods_of
from spdsim.render.look import Look
from spdsim.render.ranking import sentence, verdict
from spdsim.scenario import Scenario, load_scenario
from tests.commands import ROOT, TUTORIAL, spdsim

RTX = ROOT / "scenarios" / "rtx4090x4-pcie.yaml"
FEW = ("plain", "plain_pipeline", "eagle", "spd", "spd_sharded")


@cache
def scenario() -> Scenario:
    # Links of their own: what a shared one costs depends on the order of messages, and takes longer to simulate.
    return load_scenario(RTX, ["links.intra_node.shared=false", "replications=8"])


@cache
def ranking() -> Ranking:
    return compare(scenario(), keys=FEW, precision=0.02)


def speedup(row: Row) -> float:
    assert row.speedup is not None
    return row.speedup.mean


def time_s(scenario: Scenario, key: str) -> float:
    method = next(iter(methods_of(scenario, (key,))))
    assert isinstance(method, Method)
    return evaluate_method(scenario, method.machine, method.acceptance).time_per_token_s.mean


def test_the_best_comes_first_and_speedups_are_over_the_best_plain_method() -> None:
    """A row for each method that was asked for; the plain one's speedup is 1."""
    found = ranking()
    times = [row.figures.time_per_token_s.mean for row in found.rows]
    assert all(before <= after for before, after in pairwise(times))
    assert {row.method.key for row in found.rows} == set(FEW)
    plain = [row for row in found.rows if row.method.is_plain]
    assert found.plain is not None
    assert found.plain.key == plain[0].method.key == "plain"
    assert speedup(plain[0]) == 1.0
    for row in found.rows:
        assert speedup(row) == pytest.approx(plain[0].figures.time_per_token_s.mean / row.figures.time_per_token_s.mean)


def test_intervals_are_as_narrow_as_asked_for() -> None:
    """Two per cent of the time, for those that draft."""
    for row in ranking().rows:
        time = row.figures.time_per_token_s
        assert time.high is not None
        assert time.high - time.mean <= 0.02 * time.mean


def test_a_plain_method_is_found_even_where_none_is_asked_for() -> None:
    """So that a speedup means the same whatever is compared."""
    only = compare(scenario(), keys=["spd"], precision=0.05)
    assert [row.method.key for row in only.rows] == ["spd"]
    assert only.plain is not None and only.plain.key == "plain"
    assert speedup(only.rows[0]) == pytest.approx(
        speedup(next(row for row in ranking().rows if row.method.key == "spd")), rel=0.05
    )


def test_at_a_crossover_both_methods_take_the_same_time() -> None:
    """Found by a search in a few sequences; looked at in as many."""
    acceptance, _ = crossovers(scenario(), ranking())
    assert acceptance.value is not None and 0.0 < acceptance.value < 1.0
    at = with_acceptance(scenario(), acceptance.value)
    assert time_s(at, acceptance.spd) == pytest.approx(time_s(scenario(), acceptance.other), rel=1e-3)
    # At that acceptance the other method is ahead whatever the latency; at a better one it is not.
    better = with_acceptance(scenario(), 0.95)
    _, latency = crossovers(better, ranking())
    assert latency.value is not None
    slow = with_latency(better, latency.value)
    assert time_s(slow, latency.spd) == pytest.approx(time_s(slow, latency.other), rel=1e-3)
    assert time_s(with_latency(better, 2 * latency.value), latency.spd) > time_s(slow, latency.other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Crossover("acceptance", "spd", "eagle", 0.8, 0.7, "spd"), "spd overtakes eagle from 0.700 on; the scenario"),
        (Crossover("acceptance", "spd", "eagle", 0.8, None, "spd"), "spd is faster than eagle at every acceptance"),
        (
            Crossover("acceptance", "spd", "eagle", None, None, "eagle"),
            "eagle is faster than spd even with every draft",
        ),
        (Crossover("link_latency", "spd", "eagle", 1e-5, 2e-4, "spd"), "spd falls behind eagle from 200 µs on"),
        (Crossover("link_latency", "spd", "eagle", 1e-5, None, "eagle"), "eagle is faster than spd even on links"),
        (Crossover("link_latency", "spd", "eagle", 1e-5, None, "spd"), "spd is faster than eagle up to 100 ms"),
    ],
)
def test_a_crossover_is_one_sentence(change: Crossover, said: str) -> None:
    """Also where one method wins everywhere."""
    assert said in sentence(change, Look())


def test_the_verdict_names_the_fastest() -> None:
    """With what it is over the best plain method."""
    assert verdict(ranking(), Look()).startswith(f"Fastest here: {ranking().rows[0].method.title}")


def test_a_method_that_there_is_not_is_refused_with_the_nearest() -> None:
    """In one line."""
    with pytest.raises(InputError, match="method is eagel: did you mean eagle"):
        compare(scenario(), keys=["eagel"])


def test_the_command_writes_a_table_and_a_document_and_tells_what_is_missing(tmp_path: Path) -> None:
    """The same rows in both; the same bytes with the same seed."""
    words = [
        "compare", str(RTX), "--methods", "plain,tensor_parallel,eagle", "--precision", "0.05", "--no-crossovers",
        "--set", "links.intra_node.shared=false",
    ]  # fmt: skip
    done = spdsim(*words, "--json", "c.json", "--csv", "c.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Fastest here: EAGLE chain" in done.stdout
    assert "give links.all_reduce_s" in done.stdout or "links.all_reduce_s is missing" in done.stdout
    document = json.loads((tmp_path / "c.json").read_text())
    assert [row["method"] for row in document["methods"]] == ["eagle", "plain"]
    assert [row["key"] for row in document["missing"]] == ["tensor_parallel"]
    assert document["best_plain"] == "plain"
    assert document["methods"][0]["origins"]
    with (tmp_path / "c.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["eagle", "plain"]
    assert float(rows[0]["time_per_token_s"]) == document["methods"][0]["time_per_token_s"]
    again = spdsim(*words, "--json", "-", cwd=tmp_path)
    assert json.loads(again.stdout) == document


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--methods", "spdd"], "method is spdd: did you mean spd?"),
        (["--methods", ""], '--methods is ""'),
        (["--precision", "0"], "--precision is 0: must be a fraction greater than 0 and less than 1"),
        (["--set", "rivals.eagle.acceptance.p=2"], "rivals.eagle.acceptance.p is 2"),
        (["--set", "rivals.eagel.layers=2"], "did you mean `rivals.eagle"),
        (
            ["--set", "rivals.eagle.acceptance={kind: accept_length, tokens: 6, draft_tokens: 3}"],
            "rivals.eagle.acceptance.tokens is 6: must be at most 4",
        ),
        (
            ["--set", "rivals.draft_model.model=null"],
            "rivals.draft_model.model is missing: must be given, or else step_s",
        ),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(options: list[str], error: str, tmp_path: Path) -> None:
    """And nothing is written."""
    done = spdsim("compare", str(RTX), *options, "--json", "c.json", cwd=tmp_path)
    assert done.returncode == 2
    assert error in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_what_may_be_wrong_with_a_machine_is_told_with_every_method(tmp_path: Path) -> None:
    """As `spdsim simulate` tells it: once on the screen, and with each method in the document."""
    record = "acceptance={kind: replay, accepted: [AARA, RRR]}"
    file = tmp_path / "compared.json"
    done = spdsim("compare", TUTORIAL, "--set", record, "--methods", "spd,plain", "--json", str(file), cwd=tmp_path)
    said = "2 recorded of 5 sequences to decode: records repeat, so the intervals are too narrow"
    assert done.returncode == 0 and " ".join(done.stdout.split()).count(said) == 1
    assert all(said in method["warnings"] for method in json.loads(file.read_text())["methods"])


def test_another_method_is_simulated_with_its_timeline(tmp_path: Path) -> None:
    """Its trace is as good as any: it is reported from the file, too."""
    done = spdsim("simulate", str(RTX), "--method", "eagle", "--replications", "2", "--trace", "t.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "EAGLE chain" in done.stdout
    assert "tokens per cycle" in done.stdout
    again = spdsim("report", "t.jsonl", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    refused = spdsim("simulate", str(RTX), "--method", "ssd", cwd=tmp_path)
    assert (refused.returncode, refused.stderr) == (
        2, "spdsim: error: --method ssd cannot be had here: no hit rate: give rivals.ssd.hit_rate\n"
    )  # fmt: skip
