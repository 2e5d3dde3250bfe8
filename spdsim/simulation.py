"""From a scenario to a trace: the one call behind `spdsim simulate`."""

from collections.abc import Callable

from spdsim.acceptance import max_tokens, mean_acceptance, toss
from spdsim.engine import Request, decode_all
from spdsim.machine import Machine
from spdsim.scenario import Scenario, acceptance_of, output_tokens, scenario_sha256
from spdsim.timing import machine_of
from spdsim.trace import ONE_DEVICE, PLAIN_PIPELINE, Trace, TraceHeader, WorkerInfo


def simulate(
    scenario: Scenario, *, machine: Machine | None = None, progress: Callable[[int, int], None] | None = None
) -> Trace:
    """Simulate every replication of `scenario` and return the trace of all of them.

    Replication r holds sequences r * workload.sequences and following, one after another, from time 0.
    machine: the scenario's machine, if it has been worked out already. progress: called with (replications
    done, replications in all). Raises ScenarioError for a scenario that breaks a rule.
    """
    machine = machine_of(scenario) if machine is None else machine
    trace = Trace(_header(scenario, machine))
    per_replication = scenario.workload.sequences
    replications = (
        (_request(scenario, machine, first + i) for i in range(per_replication))
        for first in range(0, scenario.replications * per_replication, per_replication)
    )
    for done in decode_all(machine, trace, replications, scenario.seed):
        if progress is not None:
            progress(done, scenario.replications)
    return trace


def _request(scenario: Scenario, machine: Machine, sequence: int) -> Request:
    model = acceptance_of(scenario)
    recorded = max_tokens(model, sequence)
    num_tokens = output_tokens(scenario, sequence)
    num_tokens = num_tokens if recorded is None else min(num_tokens, recorded)
    # A pipeline with a lag verifies up to its capacity beyond the last token.
    coins = toss(model, scenario.seed, sequence, num_tokens + machine.layout.capacity + 1)
    return Request(sequence, num_tokens, coins)


def _header(scenario: Scenario, machine: Machine) -> TraceHeader:
    return TraceHeader(
        source="simulator", method="spd",
        num_stages=machine.layout.num_stages, verification_lag=machine.layout.verification_lag,
        workers=tuple(WorkerInfo(w.index, w.role, machine.devices[w.device]) for w in machine.workers),
        scenario_sha256=scenario_sha256(scenario),
        baseline=ONE_DEVICE if machine.fits_one_device else PLAIN_PIPELINE,
        mean_acceptance=mean_acceptance(acceptance_of(scenario), machine.layout.capacity),
    )  # fmt: skip
