"""`spdsim calibrate`: a machine in, a profile and the proof of it out."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from spdsim.cli.checks import check_page, check_tolerance
from spdsim.cli.options import JsonOption
from spdsim.errors import InputError, RunError

if TYPE_CHECKING:
    from spdsim.calibration import Calibration, Proof
    from spdsim.calibration.campaign import Done, Wanted
    from spdsim.calibration.kept import Kept
    from spdsim.evidence import Probes


def calibrate(
    profile_file: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where to write the profile (YAML).")
    ] = Path("profile.yaml"),
    stages: Annotated[str, typer.Option("--stages", metavar="N,…", help="Stages of the runs that are fitted.")] = "2,4",
    predict_stages: Annotated[
        str, typer.Option("--predict-stages", metavar="N,…", help='Stages of the runs that are held out; "": none.')
    ] = "3,8",
    acceptances: Annotated[
        str, typer.Option("--acceptance", metavar="P,…", help="Forced acceptances of the runs that are fitted.")
    ] = "0.9,0.6",
    predict_acceptances: Annotated[
        str, typer.Option("--predict-acceptance", metavar="P,…", help="Of the runs that are held out.")
    ] = "0.8",
    draft_layers: Annotated[
        str, typer.Option("--draft-layers", metavar="L,…", help="Layers of the draft module; the first is predicted.")
    ] = "2",
    new_tokens: Annotated[int, typer.Option("--max-new-tokens", metavar="K", help="Tokens of each run.")] = 128,
    rounds: Annotated[
        int | None,
        typer.Option(
            "--rounds", metavar="N", help="How often every run is made, in turn.",
            show_default="3, and up to 8 while all take less than 200 s",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the runs that are fitted; held-out runs have others.")] = 0,
    model: Annotated[
        str | None, typer.Option("--model", metavar="PATH", help="Target, as spdsim-exec takes it; else a small one.")
    ] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Weights are drawn: PATH needs a config.json only.")
    ] = False,
    device: Annotated[Literal["cpu", "cuda"] | None, typer.Option("--device", help="Where it runs.")] = None,
    backend: Annotated[
        Literal["local", "socket", "gloo", "nccl"] | None, typer.Option("--backend", help="How messages travel.")
    ] = None,
    launch: Annotated[
        Literal["eager", "compiled", "cuda_graph"] | None, typer.Option("--launch", help="How work is issued.")
    ] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None, typer.Option("--dtype", help="Number format of the run.")
    ] = None,
    lm_head: Annotated[
        Literal["draft_rank", "last_stage", "sharded", "own_device"] | None,
        typer.Option("--lm-head", help="Where the LM head is."),
    ] = None,
    verification_lag: Annotated[
        int | None, typer.Option("--verification-lag", metavar="K", help="Cycles by which a verdict is late.")
    ] = None,
    anchors: Annotated[
        str | None, typer.Option("--anchors", metavar="N", help="Hidden states that the draft module reads.")
    ] = None,
    prompt_tokens: Annotated[int, typer.Option("--prompt-tokens", metavar="N", help="Length of the prompts.")] = 16,
    threads: Annotated[int | None, typer.Option("--threads", help="Of each process, on a CPU.")] = None,
    emulate: Annotated[
        str | None,
        typer.Option("--emulate", metavar="PROFILE", help="Wait for these durations in place of computing."),
    ] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="Longest wait for a message.")
    ] = None,
    probe_budget_s: Annotated[
        float,
        typer.Option("--probes", metavar="SECONDS", help="How long single operations are measured first; 0: not."),
    ] = 30.0,
    traces: Annotated[
        Path | None, typer.Option("--traces", metavar="DIRECTORY", help="Keep the traces of all runs there.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on where a calibration was cut short; other options may be added."),
    ] = False,
    report_file: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write what is printed as a page: .md or .html.")
    ] = None,
    json_file: JsonOption = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance", metavar="FRACTION",
            help="Exit with 1 if a held-out mean cycle or time per token is further off.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
) -> None:  # fmt: skip
    """Measure this machine with the executor, write a profile, and predict runs that it was not fitted to.

    Needs the executor (pip install 'spdsim[executor]'). The profile is what `spdsim simulate --profile` takes.

    Ctrl-C keeps what is measured, and --resume goes on.

    Example:  spdsim calibrate --model path/to/model --out my-machine.yaml --report my-machine.html
    """
    from spdsim.calibration import calibration_document
    from spdsim.calibration.campaign import Wanted
    from spdsim.calibration.kept import Kept
    from spdsim.cli.document import JsonOutput
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.screen import Screen
    from spdsim.fitting import profile_text
    from spdsim.render.calibration import print_calibration

    check_tolerance(tolerance)
    check_page(report_file)
    if not 0.0 <= probe_budget_s < inf:
        raise InputError(f"--probes is {probe_budget_s:g}: must be at least 0 seconds")
    of_model = {"--model": model, "--device": device, "--dtype": dtype, "--launch": launch, "--threads": threads}
    of_run = {"--emulate": emulate, "--timeout": timeout_s, "--prompt-tokens": prompt_tokens}
    for_pipelines = {
        "--backend": backend, "--lm-head": lm_head, "--verification-lag": verification_lag, "--anchors": anchors,
    }  # fmt: skip
    wanted = Wanted(
        stages=_counts("--stages", stages, least=2),
        acceptances=_probabilities("--acceptance", acceptances),
        draft_layers=_counts("--draft-layers", draft_layers),
        predicted_stages=_counts("--predict-stages", predict_stages, least=2) if predict_stages else (),
        predicted_acceptances=_probabilities("--predict-acceptance", predict_acceptances),
        new_tokens=_at_least("--max-new-tokens", new_tokens, 2),
        rounds=None if rounds is None else _at_least("--rounds", rounds, 1),
        seed=_at_least("--seed", seed, 0),
        model_options=(*_options(of_model), *(("--random-weights",) if random_weights else ())),
        run_options=_options(of_run),
        pipeline_options=_options(for_pipelines),
        is_emulated=emulate is not None,
        # Nothing computes in emulation.
        probe_budget_s=0.0 if emulate is not None else probe_budget_s,
    )
    if tolerance is not None and not wanted.predicted_stages:
        raise InputError("--tolerance is given: nothing is held out without --predict-stages: leave one of them out")
    with Outputs() as outputs:
        to_profile, to_report = outputs.reserve(profile_file), outputs.reserve(report_file)
        to_json = JsonOutput(outputs, json_file)
        kept = Kept(traces or _beside(profile_file), resume=resume)
        is_quiet = quiet or to_json.has_stdout
        calibration, proof = _fitted(*_measured(wanted, kept, resume=resume, is_quiet=is_quiet))
        assert to_profile is not None
        head = "Written by `spdsim calibrate`: calibrate again rather than edit."
        to_profile.write_text(profile_text(calibration.profile, head), encoding="utf-8")
        to_json.write(lambda: calibration_document(calibration, proof))
        title = f"{profile_file}: calibrated, {', '.join(calibration.profile.range.models or ())}"
        if to_report and report_file:
            to_report.write_text(_page(report_file, calibration, proof, title), encoding="utf-8")
        if not is_quiet:
            print_calibration(calibration, proof, Screen(), title=title)
    if traces is None:
        kept.forget()
        kept.leave()
    if proof is not None and tolerance is not None and proof.graded_error > tolerance:
        error, most = 100 * proof.graded_error, 100 * tolerance
        print(f"spdsim: largest held-out error {error:.2f} %: the tolerance is {most:g} %", file=sys.stderr)
        raise typer.Exit(1)


def _beside(profile_file: Path) -> Path:
    """Where traces are while the calibration that is to write `profile_file` goes on."""
    is_device = profile_file.exists() and not profile_file.is_file()
    return Path("calibration.runs") if is_device else profile_file.with_name(f"{profile_file.name}.runs")


def _measured(wanted: "Wanted", kept: "Kept", *, resume: bool, is_quiet: bool) -> "tuple[list[Done], Probes | None]":
    """Run everything that is wanted. Where that is cut short, what was measured is kept, and it is said where."""
    from spdsim.calibration.campaign import perform, run_executor
    from spdsim.cli.progress import StepProgress

    try:
        with StepProgress(not is_quiet, "runs") as progress:
            if resume and not is_quiet:
                progress.say(f"{kept.directory}: {len(kept)} of the runs and probes were made before")
            return perform(wanted, kept, progress, run_executor)
    except (KeyboardInterrupt, RunError, InputError) as error:
        if not kept:
            kept.forget()
            kept.leave()
            raise
        where = f"what was measured is kept in {kept.directory}: go on with --resume"
        if isinstance(error, KeyboardInterrupt):
            print(f"spdsim: stopped: {where}", file=sys.stderr)
            raise typer.Exit(130) from None
        raise type(error)(f"{error}: {where}") from None


def _fitted(made: "list[Done]", probes: "Probes | None") -> "tuple[Calibration, Proof | None]":
    """Fit what is to be fitted, and predict the rest."""
    from spdsim.calibration import fit_traces, prove
    from spdsim.calibration.campaign import noise, undisturbed

    done = undisturbed(made)
    fitted = [each.observed for each in done if not each.config.is_held_out]
    # The last one is a pipeline, whose messages travel.
    machine = fitted[-1].trace.header.machine or {}
    source = f"spdsim calibrate, {len(fitted)} runs of the executor"
    calibration = fit_traces(fitted, source, dict(machine), probes, noise(done))
    calibration = replace(calibration, num_disturbed=len(made) - len(done))
    return calibration, prove(calibration.profile, done)


def _options(given: Mapping[str, object]) -> tuple[str, ...]:
    """The options that were given, as arguments."""
    return tuple(word for option, value in given.items() if value is not None for word in (option, str(value)))


def _counts(option: str, text: str, least: int = 1) -> tuple[int, ...]:
    try:
        found = tuple(int(word) for word in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < least or len(set(found)) < len(found):
        raise InputError(f"{option} is {text!r}: must be different whole numbers of at least {least}, such as 2,4")
    return found


def _probabilities(option: str, text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(word) for word in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0.0 <= value <= 1.0 for value in found) or len(set(found)) < len(found):
        raise InputError(f"{option} is {text!r}: must be different numbers from 0 to 1, such as 0.9,0.6")
    return found


def _at_least(option: str, value: int, least: int) -> int:
    if value < least:
        raise InputError(f"{option} is {value}: must be at least {least}")
    return value


def _page(path: Path, calibration: "Calibration", proof: "Proof | None", title: str) -> str:
    from spdsim.render.calibration_page import calibration_html, calibration_markdown

    make = calibration_html if path.suffix.lower() == ".html" else calibration_markdown
    return make(calibration, proof, title)
