"""`spdsim-exec acceptance`: how often a draft module's drafts are right, and which acceptance model that is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from executor.cli import PROGRAM
from executor.cli import options as o

if TYPE_CHECKING:
    from executor.acceptance.measure import Measured
    from executor.acceptance.subject import Asked, Subject

_WHAT, _OUTPUT = "What is decoded", "Output"

Prompts = Annotated[
    Path | None,
    typer.Option(
        "--prompts", metavar="FILE", show_default=False, rich_help_panel=_WHAT,
        help="Prompts: text, one a line, or JSON lines with prompt, turns, messages, text or prompt_ids.  [required]",
    ),
]  # fmt: skip
StagesList = Annotated[
    str | None,
    typer.Option(
        "--stages", metavar="N,…", show_default=False, rich_help_panel="The schedule",
        help="Pipeline stages, one number or several.  [default: the checkpoint's, or 2]",
    ),
]  # fmt: skip
ModuleDraft = Annotated[
    str | None,
    typer.Option(
        "--draft", metavar="WHO", show_default=False, rich_help_panel="Drafts",
        help="module (random weights) or CHECKPOINT; its own drafts are measured.  [default: module]",
    ),
]  # fmt: skip
Limit = Annotated[
    int | None,
    typer.Option(
        "--sequences", metavar="N", show_default=False, rich_help_panel=_WHAT,
        help="The first N prompts.  [default: all]",
    ),
]  # fmt: skip
MaxNewTokens = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens", metavar="N", show_default=False, rich_help_panel=_WHAT,
        help="Tokens of each sequence, at most.  [default: 64; of a given text all]",
    ),
]  # fmt: skip
Offline = Annotated[
    bool,
    typer.Option(
        "--offline", rich_help_panel=_WHAT,
        help="Run no pipeline: look up every draft in one pass over each text, for all numbers of stages at once; "
        "greedy decoding only.",
    ),
]  # fmt: skip
TextOption = Annotated[
    Literal["own", "given"] | None,
    typer.Option(
        "--text", show_default=False, rich_help_panel=_WHAT,
        help="With --offline: the target's own continuation of each prompt, or the prompts' text as it stands.  "
        "[default: own]",
    ),
]  # fmt: skip
VerdictsFile = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", show_default=False, rich_help_panel=_OUTPUT,
        help="Write the verdicts (JSON lines), for acceptance of kind replay, or --draft forced:FILE.",
    ),
]  # fmt: skip
FragmentFile = Annotated[
    Path | None,
    typer.Option(
        "--acceptance", metavar="FILE", show_default=False, rich_help_panel=_OUTPUT,
        help="Write the fitted model as a scenario's `acceptance` (YAML); of several --stages a table of them.",
    ),
]  # fmt: skip


def acceptance(
    model: o.Model = None,
    random_weights: o.RandomWeights = False,
    dtype: o.Dtype = None,
    stages: StagesList = None,
    layers: o.Layers = None,
    lm_head: o.Head = None,
    verification_lag: o.Lag = None,
    draft: ModuleDraft = None,
    draft_layers: o.DraftLayers = None,
    anchors: o.Anchors = None,
    draft_vocab: o.DraftVocab = None,
    prompts: Prompts = None,
    sequences: Limit = None,
    max_new_tokens: MaxNewTokens = None,
    end_tokens: o.EndTokens = None,
    ignore_end_tokens: o.IgnoreEnds = False,
    offline: Offline = False,
    text: TextOption = None,
    temperature: o.Temperature = None,
    top_k: o.TopK = None,
    top_p: o.TopP = None,
    seed: o.Seed = None,
    device: o.Device = None,
    launch: o.LaunchOption = None,
    eager: o.Eager = False,
    threads: o.Threads = None,
    verdicts_file: VerdictsFile = None,
    fragment_file: FragmentFile = None,
    json_file: o.Json = None,
    quiet: o.Quiet = False,
) -> None:
    """Measure how often a draft module's drafts are right, and fit the acceptance model of a scenario.

    Every prompt is decoded with drafts, all workers in one process, and the verdicts are kept. With --offline no
    pipeline runs: for greedy decoding the verdicts are the same, and one pass tells those of any number of stages.

    Example:  spdsim-exec acceptance --model path/to/model --draft module:draft.pt --prompts prompts.txt
    """
    from executor.acceptance.subject import Asked
    from executor.planning import Request
    from spdsim.errors import InputError

    if eager and launch not in (None, "eager"):
        raise InputError(f"--eager is given beside --launch {launch}: must be one of the two")
    if prompts is None:
        raise InputError("--prompts is missing: must be a file with a prompt a line")
    if text is not None and not offline:
        raise InputError(f"--text is {text}: needs --offline: a run decodes the target's own text")
    if offline and temperature:
        raise InputError(f"--temperature is {temperature:g}: must be 0 with --offline, which looks up greedy drafts")
    request = Request(
        model=model, random_weights=random_weights, dtype=dtype, layers=layers, lm_head=lm_head,
        verification_lag=verification_lag, draft=draft, draft_layers=draft_layers, anchors=anchors,
        draft_vocab=draft_vocab, max_new_tokens=max_new_tokens, end_tokens=tuple(end_tokens or ()),
        ignore_end_tokens=ignore_end_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed,
        device=device, launch="eager" if eager else launch, threads=threads,
    )  # fmt: skip
    counts = _counts(stages)
    if len(counts) > 1 and verdicts_file is not None:
        raise InputError(f"--out is given with --stages {stages}: verdicts are those of one number of stages")
    asked = Asked(
        request=request, stages=counts, prompt_file=prompts, most_sequences=sequences,
        text=(text or "own") if offline else None,
    )  # fmt: skip
    _measure(asked, verdicts_file, fragment_file, json_file, is_quiet=quiet)


def _counts(written: str | None) -> tuple[int, ...]:
    from spdsim.errors import InputError

    if written is None:
        return ()
    try:
        found = tuple(int(word) for word in written.split(","))
    except ValueError:
        found = ()
    if not found or len(set(found)) < len(found):
        raise InputError(f"--stages is {written!a}: must be different whole numbers with commas, such as 2,4,8")
    return found


def _measure(
    asked: "Asked", verdicts_file: Path | None, fragment_file: Path | None, json_file: Path | None, *, is_quiet: bool
) -> None:
    """Plan, measure, deliver. Raises an SpdError, one line, and then nothing is written."""
    from executor.acceptance.subject import subject_of
    from executor.planning import this_place
    from spdsim.cli.document import JsonOutput
    from spdsim.cli.outputs import Outputs
    from spdsim.errors import InputError

    place = this_place()
    if place.world is not None:
        raise InputError("RANK is set: acceptance runs in one process: must not be started by torchrun")
    inputs = [asked.prompt_file]
    with Outputs(inputs) as outputs:
        to_json = JsonOutput(outputs, json_file)
        to_verdicts, to_fragment = outputs.reserve(verdicts_file), outputs.reserve(fragment_file)
        subject = subject_of(asked, place)
        # What is wrong with a run is told before the heavy half of the program is loaded.
        from executor.acceptance.measure import measure
        from executor.cli.acceptance_told import document, fragment, told, verdict_lines

        measured = measure(subject, _watch(is_wanted=not is_quiet))
        if to_verdicts:
            to_verdicts.write_text(verdict_lines(measured.recorded[0]), encoding="utf-8")
        if to_fragment:
            to_fragment.write_text(fragment(asked, subject, measured), encoding="utf-8")
        to_json.write(lambda: document(asked, subject, measured))
        if not (is_quiet or to_json.has_stdout):
            from spdsim.cli.screen import Screen
            from spdsim.render.acceptance import print_acceptance

            print_acceptance(list(zip(measured.fits, told(asked, subject, measured), strict=True)), Screen())
        elif not is_quiet:
            _warn(asked, subject, measured)


def _warn(asked: "Asked", subject: "Subject", measured: "Measured") -> None:
    """Say on stderr what the screen would have said beside the figures."""
    import sys

    from executor.cli.acceptance_told import told

    remarks = dict.fromkeys(remark for each in told(asked, subject, measured) for remark in each.remarks)
    for kind, text in remarks:
        print(f"{PROGRAM}: {kind.lower()}: {text}", file=sys.stderr)


def _watch(*, is_wanted: bool) -> Any:
    """Return what shows how far something is, and for how long it will go on, on stderr."""
    from executor.cli.waiting import LateStatus
    from spdsim.cli.progress import LateProgress

    @contextmanager
    def watch(what: str) -> Iterator[tuple[Callable[[], None], Callable[[int, int], None]]]:
        with LateStatus(is_wanted, "loading") as loading, LateProgress(is_wanted, what) as progress:
            yield loading.stop, progress

    return watch
