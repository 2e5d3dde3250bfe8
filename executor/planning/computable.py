"""Whether the executor can compute what was asked for: asked once, before every rank would find out by itself.

Loads torch, which a run that computes needs anyway; weights are not read.
"""

from pathlib import Path

from executor.planning.hardware import Hardware
from executor.planning.target import Target
from spdsim.errors import InputError
from spdsim.scenario.model import Scenario
from spdsim.scenario.placement import anchors, layers_of_stages
from spdsim.scenario.target_files import CONFIG
from spdsim.schedules.spd import Layout


def check_computable(target: Target, scenario: Scenario, checkpoint: Path | None, *, any_cut: bool = False) -> None:
    """Raise InputError, one line, unless the target can be computed, and the draft module in `checkpoint` fits it.

    any_cut: it may have been made for other stages.
    """
    from executor.model.architecture import read_architecture

    try:
        architecture = read_architecture(target.config or {})
    except InputError as error:
        where = target.home / CONFIG if target.home else f"model {scenario.model.name}"
        raise InputError(f"{where}: {error}") from None
    if checkpoint is not None:
        from executor.draft.checkpoint import read
        from executor.draft.cut import Cut
        from executor.draft.shape import draft_layer

        layer = draft_layer(architecture.layers[0])
        cut = Cut(layers_of_stages(scenario), anchors(scenario))
        saved = read(checkpoint)
        saved.shape_for(cut, layer, architecture.vocab_size, any_cut=any_cut)
        saved.check_target(target.config or {})


def check_tree(target: Target, layout: Layout, hardware: Hardware) -> None:
    """Raise InputError, one line, unless a tree of drafts can be run so."""
    from executor.model.architecture import read_architecture
    from executor.model.stage import check_branches

    is_width = f"draft.width is {layout.width}"
    if hardware.launch != "eager":
        raise InputError(f"{is_width}: must be 1 with launch {hardware.launch}: trees are run eagerly yet: use --eager")
    if hardware.backend == "nccl":
        raise InputError(f"{is_width}: must be 1 with --backend nccl: trees are run in one process on GPUs yet")
    check_branches(read_architecture(target.config or {}), layout.width)
