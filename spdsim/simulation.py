"""From a scenario to a trace: the one call behind `spdsim simulate`."""

from collections.abc import Callable
from dataclasses import replace

from spdsim.acceptance import Acceptance, Coins, max_tokens, mean_acceptance, toss
from spdsim.engine import Request, decode_all
from spdsim.errors import ScenarioError
from spdsim.machine import Machine
from spdsim.scenario import Scenario, acceptance_of, one_stage, output_tokens, scenario_document, scenario_sha256
from spdsim.timing import machine_of
from spdsim.trace import ONE_DEVICE, PIPELINED, PLAIN_PIPELINE, Trace, TraceHeader, WorkerInfo

TRACED_REPLICATIONS = 20
"""Replications whose spans are enough to tell where time goes."""


def simulate(
    scenario: Scenario,
    *,
    machine: Machine | None = None,
    progress: Callable[[int, int], None] | None = None,
    replications: int | None = None,
) -> Trace:
    """Simulate the replications of `scenario` and return the trace of all of them.

    Replication r holds sequences r * workload.sequences and following, one after another, from time 0.
    machine: the scenario's machine, if it has been worked out already. progress: called with (replications
    done, replications in all). replications: how many, from the first one on, if not the scenario's. Raises
    ScenarioError for a scenario that breaks a rule.
    """
    machine = machine_of(scenario) if machine is None else machine
    trace = Trace(replace(header_of(scenario, machine), plain_token_s=plain_token_s(scenario, machine)))
    return _run(scenario, machine, acceptance_of(scenario), trace, progress, replications)


def simulate_method(
    scenario: Scenario, key: str, machine: Machine, model: Acceptance,
    progress: Callable[[int, int], None] | None = None, replications: int | None = None,
) -> Trace:  # fmt: skip
    """Simulate every replication of `scenario` by another method: its key, its machine and what its drafts are worth.

    Replications, how many of them, and progress are those of `simulate`.
    """
    header = replace(header_of(scenario, machine), method=key, plain_token_s=one_device_token_s(scenario))
    if key in PIPELINED:
        mean = mean_acceptance(model, machine.layout.capacity)
        header = replace(header, plain_token_s=plain_token_s(scenario, machine), mean_acceptance=mean)
    else:
        header = replace(header, baseline=ONE_DEVICE, mean_acceptance=None)
    return _run(scenario, machine, model, Trace(header), progress, replications)


def one_device_token_s(scenario: Scenario) -> float | None:
    """Return mean seconds of a token of plain decoding on one device, sequence 0; None if it has one token only."""
    num_tokens = output_tokens(scenario, 0)
    if num_tokens < 2:
        return None
    plain = one_stage(scenario)
    trace = Trace(header_of(plain, alone := machine_of(plain)))
    request = Request(0, num_tokens, Coins([True] * (num_tokens + 2)))
    assert list(decode_all(alone, trace, [[request]], scenario.seed))
    ended_s = [end_s for site, end_s in zip(trace.site, trace.end_s, strict=True) if trace.sites[site].op == "commit"]
    return (ended_s[-1] - ended_s[0]) / (num_tokens - 1)


def plain_token_s(scenario: Scenario, machine: Machine) -> float | None:
    """Return seconds of a token with one stage on one device, where hosts issue ahead of devices.

    Elsewhere plain decoding takes what the stages and the LM head take, which is in the trace itself: None.
    """
    has_hosts = any(time.issue is not None for time in machine.tasks.values())
    is_plain = machine.layout.num_stages == 1 and scenario.partition.tensor_parallel == 1
    return None if is_plain or not has_hosts else one_device_token_s(scenario)


def request_of(scenario: Scenario, machine: Machine, sequence: int, model: Acceptance | None = None) -> Request:
    """Return the request of sequence `sequence` (from 0, over all replications): its length and its verdicts.

    model: which drafts are accepted, if not as the scenario has it.
    """
    own = acceptance_of(scenario)
    model = own if model is None else model
    # A record ends where it ends for every method, so that all decode the same.
    recorded = max_tokens(own, sequence)
    num_tokens = output_tokens(scenario, sequence)
    num_tokens = num_tokens if recorded is None else min(num_tokens, recorded)
    # What is in flight goes beyond the last token, by the capacity at most.
    coins = toss(model, scenario.seed, sequence, num_tokens + machine.layout.capacity + 1)
    return Request(sequence, num_tokens, coins)


def header_of(scenario: Scenario, machine: Machine) -> TraceHeader:
    """Return the header of a trace of `scenario`, but for what plain decoding takes.

    Raises ScenarioError where several sequences are to be in flight: a trace of them is another thing
    (`spdsim.choice.concurrency`).
    """
    if (number := scenario.workload.concurrency) > 1:
        raise ScenarioError(
            f"workload.concurrency is {number}: must be 1 here, where one sequence is decoded at a time; "
            "use `spdsim compare --concurrency` for several"
        )
    return TraceHeader(
        source="simulator", method="spd",
        num_stages=machine.layout.num_stages, verification_lag=machine.layout.verification_lag,
        workers=tuple(WorkerInfo(w.index, w.role, machine.devices[w.device]) for w in machine.workers),
        scenario_sha256=scenario_sha256(scenario),
        baseline=_baseline(scenario, machine),
        mean_acceptance=mean_acceptance(acceptance_of(scenario), machine.layout.capacity),
        scenario=scenario_document(scenario),
    )  # fmt: skip


def _baseline(scenario: Scenario, machine: Machine) -> str:
    """What the headline is over: stages on several devices are compared with themselves, one after another."""
    is_one_device = machine.fits_one_device and scenario.partition.tensor_parallel == 1
    return ONE_DEVICE if is_one_device else PLAIN_PIPELINE


def _run(
    scenario: Scenario, machine: Machine, model: Acceptance, trace: Trace, progress: Callable[[int, int], None] | None,
    replications: int | None,
) -> Trace:  # fmt: skip
    count, total = scenario.workload.sequences, scenario.replications if replications is None else replications
    requests = (
        (request_of(scenario, machine, number * count + i, model) for i in range(count)) for number in range(total)
    )
    for done in decode_all(machine, trace, requests, scenario.seed):
        if progress is not None:
            progress(done, total)
    return trace
