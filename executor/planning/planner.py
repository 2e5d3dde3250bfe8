"""A request becomes a run: the scenario first, and everything else read off it.

Layers, anchors, layout, verdicts and emulated times all come from the scenario, so that simulator and executor cannot
disagree about them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from executor.draft.forced import Draft
from executor.plan import DraftPlan, Job, ModelPlan, Plan
from executor.planning.asked import all_settings, draft_of, prompts_asked, target_of, tokenizer_of
from executor.planning.computable import check_computable, check_tree
from executor.planning.config import config_of
from executor.planning.devices import as_it_is_emulated, as_it_runs, local_devices
from executor.planning.hardware import Hardware, emulated_hardware, hardware_of
from executor.planning.jobs import jobs_of, lengths
from executor.planning.options import SCENARIO_TIMES, check_draft, check_no_module, sampling_of
from executor.planning.place import Place
from executor.planning.request import Request
from executor.planning.saved import recut_note
from executor.planning.scenario import scenario_of, source_of
from executor.planning.target import Target
from executor.text.tokenizer import Tokenizer
from spdsim.errors import InputError
from spdsim.machine import Machine
from spdsim.scenario import Scenario, acceptance_of, as_a_chain, layout_of
from spdsim.scenario.placement import anchors, layers_of_stages
from spdsim.scenario.times import ProfileTimes
from spdsim.schedules.spd import Layout

TIMEOUT_S = 60.0
_MAX_TIMEOUT_S = 1e6


@dataclass(frozen=True, slots=True)
class Run:
    """What is to be run, and what people should know of it.

    model_name: what the model is called. prompt: in words, if it is a text. tokenizer: None where tokens are numbers.
    notes: where the run is not quite what was asked for.
    """

    plan: Plan
    jobs: tuple[Job, ...]
    model_name: str
    prompt: str | None
    tokenizer: Tokenizer | None
    notes: tuple[str, ...] = ()


def plan_run(request: Request, place: Place) -> Run:
    """Return the run that `request` asks for.

    Raises InputError (or ScenarioError, LaunchError), one line, if it cannot be run here or contradicts itself.
    """
    if request.emulate == SCENARIO_TIMES and request.scenario is None:
        raise InputError("--emulate is scenario: needs a scenario file, whose times are meant")
    draft = draft_of(request)
    check_no_module(draft, request)
    source = source_of(request.scenario, request.settings)
    target = target_of(request, source)
    tokenizer = tokenizer_of(request, target)
    prompts = prompts_asked(request, source, target, tokenizer)
    written = scenario_of(source, all_settings(request, source, target, draft, prompts))
    if (size := written.partition.tensor_parallel) > 1:
        rule = "must be 1: a stage of the executor runs on one device"
        raise InputError(f"partition.tensor_parallel is {size}: {rule}")
    layout = layout_of(written)
    if draft.kind == "none":
        written, layout = as_a_chain(written), replace(layout, width=1)
    check_draft(draft, request, layout.num_stages)
    if request.emulate is not None:
        scenario = written if request.scenario is not None else as_it_is_emulated(written, layout)
        hardware = emulated_hardware(request, place, layout, written.model.dtype_bytes)
    else:
        if target.config is None:
            target = Target(target.written, config_of(written.model), target.home)
        checkpoint = draft.checkpoint if layout.num_stages > 1 else None
        check_computable(target, written, checkpoint, any_cut=request.any_stages)
        launch = None if request.scenario is None else written.runtime.launch
        hardware = hardware_of(request, place, layout, target.config, launch)
        if layout.width > 1:
            check_tree(target, layout, hardware)
        scenario = as_it_runs(written, layout, hardware, place, is_file=request.scenario is not None)
    jobs = tuple(jobs_of(request, scenario, layout, target, draft, prompts))
    plan = _plan(request, scenario, layout, target, draft, hardware, jobs)
    return Run(plan, jobs, scenario.model.name, prompts.text, tokenizer, tuple(_notes(request, written, plan, draft)))


def _plan(
    request: Request, scenario: Scenario, layout: Layout, target: Target, draft: Draft, hardware: Hardware,
    jobs: tuple[Job, ...],
) -> Plan:  # fmt: skip
    is_off = draft.kind == "none" or layout.num_stages == 1
    is_forced = draft.kind == "forced" and not is_off
    longest = max(len(job.prompt) + job.max_new_tokens for job in jobs)
    return Plan(
        scenario=scenario,
        layout=layout,
        layers=layers_of_stages(scenario),
        model=ModelPlan(target.config or {}, target.weights),
        draft=DraftPlan(
            num_layers=scenario.draft.layers,
            anchors=anchors(scenario),
            vocab_size=scenario.draft.draft_vocab_size,
            checkpoint=draft.checkpoint,
            any_cut=request.any_stages,
            forced=acceptance_of(scenario) if is_forced else None,
            is_free=draft.is_free and not is_off,
            is_off=is_off,
        ),
        sampling=sampling_of(request, scenario.runtime.sampling == "sampled"),
        seed=scenario.seed,
        max_context=longest + layout.capacity,
        backend=hardware.backend,
        device=hardware.device,
        devices=local_devices(scenario),
        dtype=hardware.dtype,
        launch=hardware.launch,
        threads=hardware.threads,
        timeout_s=_timeout_s(request),
        emulated=None if request.emulate is None else _machine(scenario),
        emulated_plain=None if request.emulate is None or layout.width == 1 else _machine(as_a_chain(scenario)),
    )


def _timeout_s(request: Request) -> float:
    if request.timeout_s is None:
        return TIMEOUT_S
    if not 0.0 < request.timeout_s <= _MAX_TIMEOUT_S:
        rule = f"must be greater than 0, and at most {_MAX_TIMEOUT_S:,.0f} seconds"
        raise InputError(f"--timeout is {request.timeout_s:g}: {rule}")
    return request.timeout_s


def _machine(scenario: Scenario) -> Machine:
    """The scenario's durations. A roofline's are those of a host and of a device, which are not emulated apart."""
    from spdsim.timing import machine_of

    if not isinstance(scenario.timing, ProfileTimes):
        rule = "must be profile: only whole durations can be emulated (--emulate PROFILE)"
        raise InputError(f"timing.kind is {scenario.timing.kind}: {rule}")
    return machine_of(scenario)


def _notes(request: Request, written: Scenario, plan: Plan, draft: Draft) -> Iterator[str]:
    """Yield where the run is not quite what was written."""
    for sequence in range(written.workload.sequences):
        wanted, recorded = lengths(written, draft, sequence)
        if recorded is not None:
            yield f"sequence {sequence} has {recorded} tokens, not {wanted}: its recorded verdicts end there"
    checkpoint = plan.draft.checkpoint if request.any_stages else None
    if checkpoint is not None and (note := recut_note(checkpoint, plan.layers)):
        yield note
    if request.scenario is None or request.emulate is not None:
        return
    runtime, devices = written.runtime, written.devices
    if plan.device == "cpu":
        yield f"the scenario's devices are {devices.count} x {devices.gpu.name}: this run is on a CPU"
    if runtime.launch != plan.launch:
        yield f"runtime.launch is {runtime.launch} in the scenario: this run is {plan.launch}"
    if runtime.posting == "separate" or runtime.receipts == "serial":
        yield "messages are posted together and before they are needed, whatever the scenario's runtime says"
