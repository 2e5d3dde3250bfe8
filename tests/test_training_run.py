"""Training runs: what is learned, what a state is good for, and what a run that fails leaves behind."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from executor.errors import DivergedError
from executor.model.architecture import read_architecture
from executor.model.layers import make_layer
from executor.model.weights import RandomWeights, load
from executor.plan import ModelPlan
from executor.training import held_out as held_out_module
from executor.training.home import STATE
from executor.training.outcome import Event, Measured
from executor.training.steps import learning_rate, measuring
from executor.training.trainer import StepReport
from spdsim.errors import InputError
from tests.training_runs import (
    CONFIG,
    HYBRID,
    periodic_target,
    periodic_texts,
    random_texts,
    run,
    token_lines,
    training_plan,
    weights,
)

torch.set_num_threads(1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return token_lines(tmp_path / "data.jsonl", random_texts())


def same(left: Path, right: Path) -> bool:
    """Whether two runs have trained the same weights, bit for bit."""
    theirs, ours = weights(left), weights(right)
    assert theirs.keys() == ours.keys()
    return all(torch.equal(tensor, ours[name]) for name, tensor in theirs.items())


# What is learned.


def test_a_module_that_has_learned_periodic_text_has_every_draft_accepted(tmp_path: Path) -> None:
    """Of a target that says what the text says; at first the module does not."""
    model = periodic_target(tmp_path / "model")
    data = token_lines(tmp_path / "data.jsonl", periodic_texts(model, 32))
    plan = training_plan(tmp_path / "out", data, model=model, steps=80)
    history = run(plan).history
    first, last = (history[place].held_out for place in (0, -1))
    assert [at.fill for at in last.fills] == [1, 2, 3]
    assert all(at.acceptance < 1.0 for at in first.fills) and all(at.acceptance == 1.0 for at in last.fills)
    assert all(at.divergence_nats < 0.05 for at in last.fills)


@pytest.mark.parametrize("config", [CONFIG, HYBRID], ids=["dense", "hybrid"])
@pytest.mark.parametrize("layout", ["per_depth", "per_type"])
def test_loss_falls_on_what_is_trained(tmp_path: Path, data: Path, config: dict[str, Any], layout: str) -> None:
    told: list[Event] = []
    plan = training_plan(tmp_path / "out", data, config, steps=30, layout=layout, draft_vocab=40, accumulate=2)
    run(plan, tell=told.append)
    losses = [event.loss for event in told if isinstance(event, StepReport)]
    assert len(losses) == 30 and sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_what_is_reported_of_fills_is_what_is_measured_row_by_row(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taking a few rows at a time, and a part of the vocabulary, changes no figure."""
    plan = training_plan(tmp_path / "out", data, draft_vocab=30)
    whole = run(plan).held_out
    monkeypatch.setattr(held_out_module, "CHUNK_ROWS", 5)
    pieces = run(replace(plan, out=tmp_path / "other")).held_out
    assert whole.num_positions == pieces.num_positions == 2 * 32
    for left, right in zip(whole.fills, pieces.fills, strict=True):
        assert left.acceptance == right.acceptance
        assert left.divergence_nats == pytest.approx(right.divergence_nats, rel=1e-4)


# What it begins as.


def test_a_module_begins_as_its_target(tmp_path: Path, data: Path) -> None:
    """Head rows of the draft vocabulary, the layers that are named, and the last anchor as it is."""
    plan = training_plan(
        tmp_path / "out", data, steps=1, learning_rate=1e-30, init_from_layers=(2,), draft_vocab=8
    )  # fmt: skip
    ids = run(plan).material.draft_token_ids
    assert ids is not None and len(ids) == 8 and list(ids) == sorted(ids)
    found, source = weights(plan.out), RandomWeights(0)
    head_VH = torch.empty(64, 32)
    source.fill("lm_head.weight", head_VH)
    torch.testing.assert_close(found["lm_head.weight"], head_VH[list(ids)])
    for kind in range(3):
        expected = torch.cat((torch.zeros(32, kind * 32), torch.eye(32)), dim=1)
        torch.testing.assert_close(found[f"aggr_projs.{kind}.weight"], expected)
    layer = make_layer(read_architecture(CONFIG).layers[2], torch.float32, "cpu")
    load(layer, source, "model.layers.2.")
    for name, tensor in layer.state_dict().items():
        torch.testing.assert_close(found[f"spec_layers.0.{name}"], tensor)
    assert bool((found["spec_layers.0.self_attn.q_norm.weight"] == 1.0).all())


def test_a_hybrid_layer_gives_its_queries_without_gates_and_its_norms_whole(tmp_path: Path, data: Path) -> None:
    """A layer with a delta rule has nothing to give."""
    plan = training_plan(tmp_path / "out", data, HYBRID, steps=1, learning_rate=1e-30, init_from_layers=(3,))
    run(plan)
    found = weights(plan.out)
    layer = make_layer(read_architecture(HYBRID).layers[3], torch.float32, "cpu")
    load(layer, RandomWeights(0), "model.layers.3.")
    theirs = layer.state_dict()
    queries = theirs["self_attn.q_proj.weight"].view(4, 16, 32)[::2].reshape(32, 32)
    torch.testing.assert_close(found["spec_layers.0.self_attn.q_proj.weight"], queries)
    norm = theirs["input_layernorm.weight"] + 1.0
    torch.testing.assert_close(found["spec_layers.0.input_layernorm.weight"], norm)
    with pytest.raises(InputError, match="names layer 1, which has a delta rule: must be layers with attention: 3"):
        run(replace(plan, init_from_layers=(1,), out=tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_the_rate_rises_and_falls() -> None:
    rates = [learning_rate(step, 40, 10, 1.0) for step in range(40)]
    assert rates[10] == max(rates) == 1.0 and 0.0 < rates[0] < 0.1 and 0.0 < rates[-1] < 0.01
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize("num_stages", [2, 4, 8])
@pytest.mark.parametrize("per_step", [1, 16])
def test_measuring_takes_a_tenth_of_the_time_of_training_or_what_is_needed_for_any_figure(
    num_stages: int, per_step: int
) -> None:
    """Twenty times at most, and never on fewer than four windows; whoever asks for more gets it."""
    cost = (num_stages + 4) / 6
    for steps in (1, 7, 60, 150, 1000, 30_000):
        when = measuring(steps, per_step, num_stages, None)
        times = -(-steps // when.every)
        windows = times * when.few + when.last
        assert 1 <= times <= 20 and 4 <= when.few <= 64 and 4 <= when.last <= 64
        assert windows * cost <= 0.1 * steps * per_step or (times, when.few, when.last) == (1, 4, 4)
    assert measuring(30_000, 16, num_stages, None).last == 64
    assert measuring(60, 1, num_stages, 5).every == 5


# What is kept.


@pytest.mark.parametrize(
    ("config", "changes"),
    [(CONFIG, {"draft_vocab": 20, "accumulate": 2}), (HYBRID, {"layout": "per_type"})],
    ids=["dense", "hybrid"],
)
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(
    tmp_path: Path, data: Path, config: dict[str, Any], changes: dict[str, Any]
) -> None:
    """Equal weights, bit for bit, after the same number of steps; over the end of an epoch, and wherever it stopped."""
    plan = training_plan(tmp_path / "whole", data, config, steps=12, **changes)
    whole = run(plan)
    parts = replace(plan, out=tmp_path / "parts", every=5)
    stopped = run(parts, stop_after=3)
    assert stopped.is_stopped and stopped.step == 3 and (parts.out / STATE).exists()
    assert json.loads((parts.out / "draft.json").read_text())["training"]["complete"] is False
    again = run(parts, resume=True, stop_after=5)
    assert again.is_stopped and again.step == 8
    last = run(parts, resume=True)
    assert same(plan.out, parts.out) and not last.is_stopped and not (parts.out / STATE).exists()
    assert last.held_out == whole.held_out and last.num_tokens == whole.num_tokens
    other = replace(plan, seed=1, out=tmp_path / "other")
    run(other)
    assert not same(plan.out, other.out)


def test_a_state_goes_on_with_its_own_settings_only(tmp_path: Path, data: Path) -> None:
    """Each refusal names the setting; the state stays."""
    plan = training_plan(tmp_path / "out", data)
    run(plan, stop_after=2)
    other_data = token_lines(tmp_path / "other.jsonl", random_texts(11))
    changes: list[tuple[str, dict[str, Any]]] = [
        ("--seed is 1: must be 0, as when the run in", {"seed": 1}),
        ("--steps is 5: must be 4", {"steps": 5}),
        ("--learning-rate is 0.1: must be 0.01", {"learning_rate": 0.1}),
        ("--layers is 1,2,1: must be 2,1,1", {"layers": (1, 2, 1)}),
        ("--draft-vocab is 9: must be left out", {"draft_vocab": 9}),
        ("--layout is per_type", {"layout": "per_type"}),
        ("--fills is published: must be verified", {"expected_acceptance": None}),
        ("--expected-acceptance is 0.5: must be 0.75", {"expected_acceptance": 0.5}),
        ("--data is another than before: must be the same", {"data": other_data}),
        ("--held-out is another than before", {"held_out": 0.4}),
        ("--model is another than before", {"model": ModelPlan(CONFIG, tmp_path)}),
    ]
    for expected, change in changes:
        with pytest.raises(InputError) as refusal:
            run(replace(plan, **change), resume=True)
        assert str(refusal.value).startswith(expected) and "\n" not in str(refusal.value)
    (plan.out / STATE).write_bytes((plan.out / STATE).read_bytes()[:100])
    with pytest.raises(InputError, match=f"^--resume: .*{STATE}: cannot be read"):
        run(plan, resume=True)


def test_a_loss_that_is_no_number_ends_the_run_and_what_was_kept_stays(tmp_path: Path, data: Path) -> None:
    """The error says at which step, with which sequence, and where in the file that is."""
    plan = training_plan(tmp_path / "out", data, learning_rate=1e30, warm_up=0, every=1, steps=9)
    with pytest.raises(DivergedError) as refusal:
        run(plan)
    text = str(refusal.value)
    assert text.startswith("step 2: the ") and f"({data}:" in text and text.endswith((" is nan", " is inf"))
    kept = torch.load(plan.out / STATE, weights_only=True)
    assert kept["step"] == 1
    assert all(bool(tensor.isfinite().all()) for tensor in kept["module"].values())


def test_a_run_is_measured_as_often_as_it_is_asked_to_be(tmp_path: Path, data: Path) -> None:
    told: list[Event] = []
    outcome = run(training_plan(tmp_path / "out", data, steps=7, every=3), tell=told.append)
    measured = [event for event in told if isinstance(event, Measured)]
    assert [event.step for event in measured] == [0, 3, 6, 7] and tuple(measured) == outcome.history
    assert 7 * 16 <= outcome.num_tokens <= 7 * 32
    assert outcome.cost is not None and outcome.cost > 1.0 and outcome.tokens_per_s is not None
