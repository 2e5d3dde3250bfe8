"""spdsim: a simulator of speculative pipeline decoding.

    scenario = spdsim.load_scenario("scenarios/tutorial.yaml")
    trace = spdsim.simulate(scenario)
    report = spdsim.summarize(trace)

Names are imported when they are first used, so `import spdsim` is quick and loads no dependency.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from spdsim.analysis.report import Report
    from spdsim.analysis.summary import summarize
    from spdsim.errors import (
        DeadlockError,
        InputError,
        RunError,
        ScenarioError,
        ScheduleError,
        SpdError,
        TraceError,
    )
    from spdsim.scenario import Scenario, load_scenario
    from spdsim.simulation import simulate
    from spdsim.trace import Trace
    from spdsim.tracefile import read_trace, write_trace

_HOMES = {
    "DeadlockError": "spdsim.errors",
    "InputError": "spdsim.errors",
    "RunError": "spdsim.errors",
    "ScenarioError": "spdsim.errors",
    "ScheduleError": "spdsim.errors",
    "SpdError": "spdsim.errors",
    "TraceError": "spdsim.errors",
    "Report": "spdsim.analysis.report",
    "Scenario": "spdsim.scenario",
    "load_scenario": "spdsim.scenario",
    "simulate": "spdsim.simulation",
    "summarize": "spdsim.analysis.summary",
    "Trace": "spdsim.trace",
    "read_trace": "spdsim.tracefile",
    "write_trace": "spdsim.tracefile",
}

__all__ = [
    "DeadlockError", "InputError", "Report", "RunError", "Scenario", "ScenarioError", "ScheduleError", "SpdError",
    "Trace", "TraceError", "__version__", "load_scenario", "read_trace", "simulate", "summarize", "write_trace",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name from its module; raises AttributeError if there is no such name."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'spdsim' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
