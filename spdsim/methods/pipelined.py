"""Methods with a token in every stage beside SPD: an early exit that drafts, and a tree that a draft model grows."""

from dataclasses import replace

from spdsim.acceptance import Bernoulli
from spdsim.machine import Duration, Message, Origin
from spdsim.methods.drafters import draft_model, exit_head
from spdsim.methods.durations import of_rows
from spdsim.methods.method import CannotBeHadError, Method
from spdsim.methods.target import others, target_on
from spdsim.scenario import Scenario
from spdsim.scenario.rivals import accepted_model
from spdsim.scenario.rows import rows_factor
from spdsim.schedules import ppsd
from spdsim.schedules.ops import Payload, Task


def early_exit(scenario: Scenario) -> Method:
    """Return PPSD with a stage on every device. Raises CannotBeHadError without its acceptance or a second device."""
    written = scenario.rivals.ppsd
    if written is None:
        raise CannotBeHadError("no early exit: give rivals.ppsd and its acceptance")
    if scenario.devices.count < 2:
        raise CannotBeHadError("a pipeline needs two devices or more")
    target = target_on(scenario, "pipeline", min(scenario.devices.count, scenario.model.num_layers))
    base, stages = target.machine, target.num_stages
    step, num_bytes = exit_head(scenario, target)
    forwards, prefills = target.forwards(), target.prefills
    tasks: dict[tuple[int, Task], Duration] = {
        (0, "draft"): step, (0, "commit"): base.tasks[0, "commit"], (stages - 1, "verify"): target.verify()
    }  # fmt: skip
    for stage in range(stages):
        tasks[stage, "forward"], tasks[stage, "prefill"] = forwards[stage], prefills[stage]
        tasks[stage, "rollback"] = target.rollbacks[stage]
    verdict = base.messages["verdict", stages, 0]
    messages: dict[tuple[Payload, int, int], Message] = {
        ("hidden", stage, stage + 1): hop for stage, hop in enumerate(target.hops)
    }
    messages |= {("verdict", stages - 1, to): base.messages["verdict", stages, to + 1] for to in range(stages - 1)}
    messages["verdict", stages - 1, 0] = verdict
    messages["draft", 0, stages - 1] = base.messages["draft", 0, stages]
    machine = replace(
        base, layout=ppsd.Layout(stages), schedule=ppsd, tasks=tasks, messages=messages,
        workers=tuple(replace(worker, index=worker.index - 1) for worker in base.workers[1:]),
        origins=others(base.origins),
    )  # fmt: skip
    plural = "" if written.layers == 1 else "s"
    return Method(
        "ppsd", f"early exit behind stage 0 of {stages}: {written.layers} layer{plural} and an LM head", machine,
        accepted_model(written.acceptance), target.num_devices, target.device_bytes + num_bytes,
        origins=(Origin("rivals.ppsd acceptance", written.acceptance.origin, written.acceptance.source),),
    )  # fmt: skip


def tree_in_pipeline(scenario: Scenario) -> Method:
    """Return SpecPipe: SPD's schedule whose drafts are layers of a tree.

    Raises CannotBeHadError without the acceptance of a layer, a draft model, or three devices.
    """
    written = scenario.rivals.specpipe
    drafter = draft_model(scenario)
    if written is None:
        raise CannotBeHadError("no acceptance of a layer of the tree: give rivals.specpipe and its acceptance")
    if scenario.devices.count < 3:
        raise CannotBeHadError("two stages and a draft model need three devices")
    stages = min(scenario.devices.count - 1, scenario.model.num_layers)
    target = target_on(scenario, "pipeline", stages, is_drafter_apart=True)
    base, width = target.machine, written.width
    forwards = target.forwards(width)
    tasks = dict(base.tasks)
    tasks[0, "draft"], tasks[0, "prefill"] = of_rows(drafter.step, rows_factor(width)), drafter.prefill
    for stage in range(stages):
        tasks[stage + 1, "forward"] = forwards[stage]
    tasks[stages, "verify"] = target.verify(width)
    machine = replace(base, tasks=tasks, origins=others(base.origins))
    accepted = accepted_model(written.acceptance)
    if not isinstance(accepted, Bernoulli):
        raise CannotBeHadError("a layer of the tree has one acceptance: give it as constant or accept_length")
    return Method(
        "specpipe", f"tree of width {width} by {drafter.words}, over {stages} stages", machine, accepted, stages + 1,
        max(target.device_bytes, drafter.num_bytes),
        origins=(Origin("rivals.specpipe acceptance", written.acceptance.origin, written.acceptance.source),),
    )  # fmt: skip
