"""From a scenario to a trace: the one call behind `spdsim simulate`."""

from collections.abc import Callable
from dataclasses import replace

from spdsim.acceptance import Coins, max_tokens, mean_acceptance, toss
from spdsim.engine import Request, decode_all
from spdsim.machine import Machine
from spdsim.scenario import Scenario, acceptance_of, one_stage, output_tokens, scenario_document, scenario_sha256
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
    trace = Trace(replace(header_of(scenario, machine), plain_token_s=plain_token_s(scenario, machine)))
    per_replication = scenario.workload.sequences
    replications = (
        (request_of(scenario, machine, first + i) for i in range(per_replication))
        for first in range(0, scenario.replications * per_replication, per_replication)
    )
    for done in decode_all(machine, trace, replications, scenario.seed):
        if progress is not None:
            progress(done, scenario.replications)
    return trace


def plain_token_s(scenario: Scenario, machine: Machine) -> float | None:
    """Return seconds of a token with one stage on one device, where hosts issue ahead of devices.

    Elsewhere plain decoding takes what the stages and the LM head take, which is in the trace itself: None.
    """
    num_tokens = output_tokens(scenario, 0)
    has_hosts = any(time.issue is not None for time in machine.tasks.values())
    if machine.layout.num_stages == 1 or not has_hosts or num_tokens < 2:
        return None
    plain = one_stage(scenario)
    trace = Trace(header_of(plain, alone := machine_of(plain)))
    request = Request(0, num_tokens, Coins([True] * (num_tokens + 2)))
    assert list(decode_all(alone, trace, [[request]], scenario.seed))
    ended_s = [end_s for site, end_s in zip(trace.site, trace.end_s, strict=True) if trace.sites[site].op == "commit"]
    return (ended_s[-1] - ended_s[0]) / (num_tokens - 1)


def request_of(scenario: Scenario, machine: Machine, sequence: int) -> Request:
    """Return the request of sequence `sequence` (from 0, over all replications): its length and its verdicts."""
    model = acceptance_of(scenario)
    recorded = max_tokens(model, sequence)
    num_tokens = output_tokens(scenario, sequence)
    num_tokens = num_tokens if recorded is None else min(num_tokens, recorded)
    # A pipeline with a lag verifies up to its capacity beyond the last token.
    coins = toss(model, scenario.seed, sequence, num_tokens + machine.layout.capacity + 1)
    return Request(sequence, num_tokens, coins)


def header_of(scenario: Scenario, machine: Machine) -> TraceHeader:
    """Return the header of a trace of `scenario`, but for what plain decoding takes."""
    return TraceHeader(
        source="simulator", method="spd",
        num_stages=machine.layout.num_stages, verification_lag=machine.layout.verification_lag,
        workers=tuple(WorkerInfo(w.index, w.role, machine.devices[w.device]) for w in machine.workers),
        scenario_sha256=scenario_sha256(scenario),
        baseline=ONE_DEVICE if machine.fits_one_device else PLAIN_PIPELINE,
        mean_acceptance=mean_acceptance(acceptance_of(scenario), machine.layout.capacity),
        scenario=scenario_document(scenario),
    )  # fmt: skip
