"""What `train-draft` was asked to do becomes a plan: the target and its cut as `generate` takes them, and a recipe.

Needs no torch, except to count GPUs and to look whether the target can be computed. Reads no weights and no data.
"""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from executor.draft.forced import Draft
from executor.plan import ModelPlan
from executor.planning.asked import all_settings, target_of
from executor.planning.computable import check_computable
from executor.planning.config import config_of
from executor.planning.hardware import cores_each, device_of, dtype_of, threads_of
from executor.planning.place import Place
from executor.planning.prompts import Prompts
from executor.planning.request import Request
from executor.planning.scenario import scenario_of, source_of
from executor.planning.target import Target, max_positions
from executor.training.plan import Fills, LayoutOfRows, TrainingDType, TrainingPlan
from spdsim.errors import InputError
from spdsim.scenario.placement import anchors, layers_of_stages

SEQUENCE_LENGTH, LEAST_LENGTH = 1024, 16
LEARNING_RATE = 3e-4
HELD_OUT = "0.05"
EXPECTED_ACCEPTANCE = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """The options of a training run, as they were written; None where they were not.

    run: those that `generate` has too: model, cut, draft module, seed, device. held_out: a share, or a file.
    init_from_layers: a list with commas.
    """

    run: Request
    data: Path
    out: Path
    held_out: str = HELD_OUT
    init_from_layers: str | None = None
    sequence_length: int | None = None
    steps: int | None = None
    epochs: float | None = None
    accumulate: int = 1
    learning_rate: float = LEARNING_RATE
    warm_up: int | None = None
    layout: LayoutOfRows = "per_depth"
    fills: Fills = "verified"
    expected_acceptance: float = EXPECTED_ACCEPTANCE
    every: int | None = None


def plan_training(request: TrainingRequest, place: Place) -> TrainingPlan:
    """Return the plan of what is asked for. Raises InputError (or ScenarioError), one line, if it cannot be done."""
    _check_numbers(request)
    source = source_of(None, ())
    target = target_of(request.run, source)
    # Nothing is decoded, but the scenario whose rules are held against the options decodes something.
    no_prompts = Prompts("--prompt-tokens", None, 1, lambda sequence, seed, vocab_size: (0,))
    scenario = scenario_of(source, all_settings(request.run, source, target, Draft("module"), no_prompts))
    if scenario.partition.stages < 2:
        raise InputError(f"--stages is {scenario.partition.stages}: must be at least 2: one stage alone drafts nothing")
    if target.config is None:
        target = Target(target.written, config_of(scenario.model), target.home)
    check_computable(target, scenario, None)
    device = device_of(request.run, place)
    return TrainingPlan(
        model=ModelPlan(target.config or {}, target.weights),
        model_name=request.run.model or scenario.model.name,
        home=target.home,
        is_built_in=target.is_built_in,
        layers=layers_of_stages(scenario),
        anchors=anchors(scenario),
        draft_layers=scenario.draft.layers,
        draft_vocab=scenario.draft.draft_vocab_size,
        init_from_layers=_first_layers(request, scenario.draft.layers, scenario.model.num_layers),
        data=request.data,
        held_out=_held_out(request),
        sequence_length=_sequence_length(request, target),
        steps=request.steps,
        epochs=1.0 if request.steps is None and request.epochs is None else request.epochs,
        accumulate=request.accumulate,
        learning_rate=request.learning_rate,
        warm_up=request.warm_up,
        seed=scenario.seed,
        layout=request.layout,
        expected_acceptance=request.expected_acceptance if request.fills == "verified" else None,
        every=request.every,
        dtype=_dtype(request.run, target, place),
        device=device,
        threads=threads_of(request.run, cores_each(place, 1 if place.world is None else place.world.per_node)),
        out=request.out,
    )


def _check_numbers(request: TrainingRequest) -> None:
    if request.steps is not None and request.epochs is not None:
        raise InputError("--steps is given beside --epochs: must be one of the two")
    counts = {"--steps": request.steps, "--accumulate": request.accumulate, "--every": request.every}
    for option, count in counts.items():
        if count is not None and count < 1:
            raise InputError(f"{option} is {count}: must be at least 1")
    for option, value in {"--epochs": request.epochs, "--learning-rate": request.learning_rate}.items():
        if value is not None and not (value > 0.0 and isfinite(value)):
            raise InputError(f"{option} is {value:g}: must be greater than 0")
    if not 0.0 <= request.expected_acceptance < 1.0:
        rule = "must be at least 0 and less than 1"
        raise InputError(f"--expected-acceptance is {request.expected_acceptance:g}: {rule}")
    if request.warm_up is not None and request.warm_up < 0:
        raise InputError(f"--warm-up is {request.warm_up}: must be 0 or more steps")


def _first_layers(request: TrainingRequest, draft_layers: int, num_layers: int) -> tuple[int, ...] | None:
    """Which layers of the target the module's begin as."""
    if request.init_from_layers is None:
        return None
    where = f"--init-from-layers is {request.init_from_layers}"
    try:
        layers = tuple(int(word) for word in request.init_from_layers.split(","))
    except ValueError:
        raise InputError(f"{where}: must be layers with commas, such as 3,7") from None
    if len(layers) != draft_layers:
        raise InputError(f"{where}: must be {draft_layers} layers, one for each of --draft-layers")
    if not all(0 <= layer < num_layers for layer in layers):
        raise InputError(f"{where}: must be layers of the target, 0 to {num_layers - 1}")
    return layers


def _held_out(request: TrainingRequest) -> float | Path:
    try:
        share = float(request.held_out)
    except ValueError:
        file = Path(request.held_out)
        if file.resolve() == request.data.resolve():
            rule = "must be another file, or a share of this one, such as 0.05"
            raise InputError(f"--held-out is {request.held_out}: is what is trained on: {rule}") from None
        return file
    if not 0.0 < share < 1.0:
        raise InputError(f"--held-out is {request.held_out}: must be a share between 0 and 1, or a file")
    return share


def _sequence_length(request: TrainingRequest, target: Target) -> int:
    """The asked length; without one what is usual, or all that the model has positions for."""
    most = max_positions(target.config)
    length = request.sequence_length
    if length is None:
        return SEQUENCE_LENGTH if most is None else min(SEQUENCE_LENGTH, most)
    if length < LEAST_LENGTH:
        raise InputError(f"--sequence-length is {length}: must be at least {LEAST_LENGTH} tokens")
    if most is not None and length > most:
        raise InputError(f"--sequence-length is {length}: must be at most the model's {most} positions")
    return length


def _dtype(run: Request, target: Target, place: Place) -> TrainingDType:
    found = dtype_of(run, device_of(run, place), target.config)
    if found != "float16":
        return found
    if run.dtype is None:
        return "bfloat16"
    raise InputError("--dtype is float16: must be float32 or bfloat16: gradients vanish in float16")
