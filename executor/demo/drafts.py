"""The draft module for one number of stages: trained by what `train-draft` trains with."""

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from executor.demo.home import Home
from executor.demo.outcome import DraftFacts
from executor.demo.sizes import DraftSize
from executor.plan import DeviceKind
from executor.planning import Place, Request
from executor.planning.training import TrainingRequest, plan_training
from spdsim.errors import InputError

Tell = Callable[[int, int, float], None]
"""Hears of steps done, steps in all, and the loss of the last one."""

_CONFIG = "draft.json"
_MEASUREMENTS = 4


def is_trained(home: Home, num_stages: int) -> bool:
    """Whether the module for so many stages is there, and trained to its end."""
    return (home.draft(num_stages) / _CONFIG).is_file() and _facts(home.draft(num_stages)) is not None


def known(home: Home, num_stages: int) -> DraftFacts:
    """Return what is known of a module that is trained."""
    found = _facts(home.draft(num_stages))
    assert found is not None
    return found


def train_draft(
    home: Home, num_stages: int, draft_layers: int, size: DraftSize, seed: int, device: DeviceKind, threads: int | None,
    place: Place, tell: Tell,
) -> None:  # fmt: skip
    """Train a module that reads the hidden state between every two stages, and keep it in its directory.

    It begins as the target's first layer, which reads embeddings, and its last ones, which write what the head reads.
    Raises InputError where the model cannot be cut so, or has too few layers.
    """
    from executor.training.home import STATE
    from executor.training.ranks import joined
    from executor.training.run import train
    from executor.training.trainer import StepReport

    run = Request(
        model=str(home.model), stages=num_stages, draft_layers=draft_layers, seed=seed, device=device, threads=threads
    )
    request = TrainingRequest(
        run=run, data=home.text, out=home.draft(num_stages), held_out=str(home.held_out),
        sequence_length=size.sequence_length, steps=size.steps, accumulate=size.windows,
        learning_rate=size.learning_rate, every=max(1, size.steps // _MEASUREMENTS),
    )  # fmt: skip
    plan = plan_training(request, place)
    num_layers = sum(plan.layers)
    if draft_layers > num_layers:
        raise InputError(f"--draft-layers is {draft_layers}: must be at most {num_layers}, the layers of the model")
    first = (0, *range(num_layers - draft_layers + 1, num_layers))
    anchors = (0, *accumulate(plan.layers))
    with joined(0, 1, 0, device) as ranks:
        train(
            replace(plan, anchors=anchors, init_from_layers=first), ranks,
            lambda event: tell(event.step, size.steps, event.loss) if isinstance(event, StepReport) else None,
            lambda: False, resume=(home.draft(num_stages) / STATE).is_file(),
        )  # fmt: skip


def _facts(directory: Path) -> DraftFacts | None:
    """Return what a module's checkpoint says of its training; None if that did not come to its end.

    Raises InputError where the checkpoint does not serve.
    """
    from executor.draft.checkpoint import read

    config = read(directory).config
    training = config.facts
    if not training.get("complete"):
        return None
    return DraftFacts(
        config.num_layers, training["steps"], training["tokens"], tuple(training["held_out"]["acceptance"])
    )
