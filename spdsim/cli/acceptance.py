"""`spdsim acceptance`: recorded verdicts in, an acceptance model out."""

from pathlib import Path
from typing import Annotated

import typer

from spdsim.cli.options import JsonOption


def acceptance(
    verdicts_file: Annotated[
        Path,
        typer.Argument(
            metavar="VERDICTS", show_default=False,
            help='Recorded verdicts, JSON lines {"sequence": 0, "accepted": [true, …]}.',
        ),
    ],
    stages: Annotated[
        int, typer.Option("--stages", metavar="N", help="Stages of the run that they are of.", show_default=False)
    ],
    verification_lag: Annotated[
        int, typer.Option("--verification-lag", metavar="K", help="Its verification lag.")
    ] = 0,
    fragment_file: Annotated[
        Path | None,
        typer.Option("--acceptance", metavar="FILE", help="Write the model as a scenario's `acceptance` (YAML)."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="TEXT", help="Where the verdicts come from, in words.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws that the model is held against.")] = 0,
    json_file: JsonOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
) -> None:  # fmt: skip
    """Fit the acceptance models of scenarios to recorded verdicts, and say which one it is and how well it fits.

    Verdicts are those of `spdsim-exec acceptance --out`, or of anything else that writes such lines.

    Example:  spdsim acceptance verdicts.jsonl --stages 4 --acceptance acceptance.yaml
    """
    from spdsim.acceptance_fit import Verdicts, fit_acceptance, fit_document, fragment_text
    from spdsim.cli.document import JsonOutput
    from spdsim.cli.outputs import Outputs
    from spdsim.cli.screen import Screen
    from spdsim.errors import InputError
    from spdsim.render.acceptance import Told, print_acceptance
    from spdsim.scenario.files import read_verdicts

    if source is not None and not source.isprintable():
        raise InputError(f"--source is {source!a}: must be one line of text, without control characters")
    if stages < 2:
        raise InputError(f"--stages is {stages}: must be at least 2: with one stage nothing is drafted")
    for option, value in (("--verification-lag", verification_lag), ("--seed", seed)):
        if value < 0:
            raise InputError(f"{option} is {value}: must be at least 0")
    with Outputs(inputs=[verdicts_file]) as outputs:
        to_json, to_fragment = JsonOutput(outputs, json_file), outputs.reserve(fragment_file)
        texts = read_verdicts(verdicts_file)
        records = tuple(tuple(letter == "A" for letter in text) for text in texts)
        try:
            fit = fit_acceptance(Verdicts(records, stages, verification_lag), seed)
        except InputError as error:
            raise InputError(f"{verdicts_file}: {error}") from None
        words = source or f"verdicts in {verdicts_file.name}"
        head = "Written by `spdsim acceptance`: fit again rather than edit."
        if to_fragment:
            to_fragment.write_text(fragment_text(fit.chosen, words, head), encoding="utf-8")
        to_json.write(lambda: {"schema_version": 1, **fit_document(fit)})
        if not (quiet or to_json.has_stdout):
            line = f"{len(records):,} sequences, {stages} stages, verification lag {verification_lag}"
            print_acceptance([(fit, Told(f"{verdicts_file}: recorded verdicts", (line,)))], Screen())
