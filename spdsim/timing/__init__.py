"""From a scenario to a machine: every duration, link and message as plain numbers, before the clock starts.

Knows nothing of the engine.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from spdsim.distributions import Constant, Distribution
from spdsim.errors import ScenarioError
from spdsim.machine import Duration, Machine
from spdsim.scenario.checks import check
from spdsim.scenario.durations import distribution
from spdsim.scenario.model import Scenario
from spdsim.scenario.placement import layout_of, place, unit_indices, units_of
from spdsim.scenario.source import dotted
from spdsim.scenario.times import ProfileTimes, Roofline
from spdsim.schedules.ops import Task
from spdsim.schedules.spd import Layout
from spdsim.timing.messages import Network, message_of, operations_of
from spdsim.timing.needs import needs_of
from spdsim.timing.origins import origins_of
from spdsim.timing.profile import profile_duration
from spdsim.timing.roofline import RooflineTimes
from spdsim.timing.warnings import fits_one_device, warnings_of


def machine_of(scenario: Scenario) -> Machine:
    """Return the machine that a scenario describes.

    Raises ScenarioError if a scenario that was put together in Python breaks a rule; a loaded one does not.
    """
    if problems := check(scenario):
        raise ScenarioError(f"{dotted(problems[0].path)} {problems[0].state}: {problems[0].rule}")
    layout, placed, units = layout_of(scenario), place(scenario), units_of(scenario)
    duration = durations_of(scenario, layout)
    needs, network = needs_of(layout), Network(scenario, placed)
    # The messages first: they tell the network which links there are.
    operations = operations_of(scenario, layout, network, needs.edges)
    messages = {edge: message_of(scenario, layout, network, edge, operations) for edge in needs.edges}
    tasks = {(worker, task): duration(worker, task) for worker, task in needs.tasks}
    return Machine(
        layout=layout,
        # To the engine a group of devices is one: its stage has all of them at a time.
        workers=tuple(
            replace(worker, device=unit) for worker, unit in zip(placed, unit_indices(scenario), strict=True)
        ),
        devices=tuple(f"{scenario.devices.gpu.name} {_numbers(unit)}" for unit in units),
        sharing=scenario.devices.sharing,
        tasks=tasks,
        links=network.links,
        messages=messages,
        prompt_tokens=scenario.workload.prompt_tokens,
        contention=scenario.timing.profile.contention if isinstance(scenario.timing, ProfileTimes) else (),
        shared_fraction=scenario.timing.profile.shared_fraction if isinstance(scenario.timing, ProfileTimes) else 0.0,
        between_cycles=_between_cycles(scenario),
        nodes=tuple(scenario.devices.node_of(unit.start) for unit in units),
        fits_one_device=fits_one_device(scenario),
        origins=tuple(origins_of(scenario)),
        warnings=tuple(warnings_of(scenario, layout, tasks)),
    )


def durations_of(scenario: Scenario, layout: Layout) -> Callable[[int, Task], Duration]:
    """Return what tells how long a worker takes for a task; no rule is held against the scenario."""
    match scenario.timing:
        case ProfileTimes(profile=profile):
            return partial(profile_duration, scenario, layout, profile)
        case Roofline() as roofline:
            return RooflineTimes(scenario, layout, roofline).duration


def _numbers(unit: range) -> str:
    return f"{unit.start}" if len(unit) == 1 else f"{unit.start}-{unit.stop - 1}"


def _between_cycles(scenario: Scenario) -> Distribution:
    if not isinstance(scenario.timing, ProfileTimes):
        return Constant(0.0)
    return distribution(scenario.timing.profile.control.between_cycles_s)


__all__ = ["durations_of", "machine_of"]
