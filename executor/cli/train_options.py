"""The options of `spdsim-exec train-draft` that no other command has, in the groups of its help."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

# As in `executor.training.plan`.
TrainingDType = Literal["float32", "bfloat16"]
LayoutOfRows = Literal["per_depth", "per_type"]
Fills = Literal["verified", "published"]

_MODEL, _MODULE, _DATA = "The target", "The draft module", "Data"
_TRAINING, _OUTPUT = "Training", "Output"


def _option(group: str, name: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False, rich_help_panel=group)


Model = Annotated[
    str | None,
    _option(
        _MODEL, "--model", "Directory with config.json and weights (safetensors), which stay as they are.  "
        "[default: a small built-in model]", "MODEL",
    ),
]  # fmt: skip
RandomWeights = Annotated[
    bool,
    _option(_MODEL, "--random-weights", "Use the model's shape with random weights: to try things, and measure speed."),
]
Dtype = Annotated[
    TrainingDType | None,
    _option(
        _MODEL, "--dtype", "Number format of the target and of products; the module's weights are float32 in training. "
        " [default: float32 on a CPU, bfloat16 or the model's own on a GPU]",
    ),
]  # fmt: skip

Stages = Annotated[
    int | None, _option(_MODULE, "--stages", "Pipeline stages that it shall draft for.  [default: 2]", "N")
]
Layers = Annotated[
    str | None,
    _option(_MODULE, "--layers", "Layers of each stage, such as 3,3,2.  [default: cut evenly]", "LIST"),
]
DraftLayers = Annotated[
    int | None, _option(_MODULE, "--draft-layers", "Its layers.  [default: as many as a stage has, 4 at most]", "N")
]
Anchors = Annotated[
    str | None,
    _option(
        _MODULE, "--anchors", "Hidden states of the target that it reads: how many, or a list such as 0,4,7.  "
        "[default: stages + 1]", "N|LIST",
    ),
]  # fmt: skip
DraftVocab = Annotated[
    int | None,
    _option(_MODULE, "--draft-vocab", "Token ids that it can draft: the N most frequent ones of --data.  "
            "[default: all]", "N"),
]  # fmt: skip
InitFromLayers = Annotated[
    str | None,
    _option(
        _MODULE, "--init-from-layers", "Layers of the target that its layers begin as, such as 3,7.  "
        "[default: random ones]", "LIST",
    ),
]  # fmt: skip

Data = Annotated[
    Path | None,
    _option(
        _DATA, "--data", 'What to train on: text (UTF-8), or JSON lines (.jsonl) with "text", with "messages" or '
        '"conversations", which go through the model\'s chat template, or with "tokens".  [required]', "FILE",
    ),
]  # fmt: skip
HeldOut = Annotated[
    str,
    typer.Option(
        "--held-out", metavar="SHARE|FILE", rich_help_panel=_DATA,
        help="Share of the documents of --data that is measured on, not trained (the end of a single text), or a file.",
    ),
]  # fmt: skip
SequenceLength = Annotated[
    int | None,
    _option(
        _DATA, "--sequence-length", "Longest sequence in tokens; documents are cut, and never mixed.  [default: 1024]",
        "N",
    ),
]  # fmt: skip

Steps = Annotated[int | None, _option(_TRAINING, "--steps", "Changes of the weights.  [default: one epoch]", "N")]
Epochs = Annotated[
    float | None, _option(_TRAINING, "--epochs", "Instead of --steps: how often to go through the data.", "X")
]
LearningRate = Annotated[
    float,
    typer.Option("--learning-rate", metavar="X", rich_help_panel=_TRAINING,
                 help="Largest learning rate (AdamW; warm-up, then a cosine to 0)."),
]  # fmt: skip
WarmUp = Annotated[
    int | None, _option(_TRAINING, "--warm-up", "Steps in which the rate rises.  [default: a twentieth]", "N")
]
Accumulate = Annotated[
    int,
    typer.Option("--accumulate", metavar="N", rich_help_panel=_TRAINING,
                 help="Sequences whose gradients are added up before a change, on each process."),
]  # fmt: skip
Layout = Annotated[
    LayoutOfRows,
    typer.Option(
        "--layout", rich_help_panel=_TRAINING,
        help="Rows of each depth, exactly as decoding has them, or of each type of features: cheaper with few anchors.",
    ),
]  # fmt: skip
FillsOption = Annotated[
    Fills,
    typer.Option(
        "--fills", rich_help_panel=_TRAINING,
        help="How many tokens are in flight in a step: as often as drafts are verified there, or as the published "
        "release draws it, all stages full half of the time.",
    ),
]  # fmt: skip
ExpectedAcceptance = Annotated[
    float,
    typer.Option(
        "--expected-acceptance", metavar="P", rich_help_panel=_TRAINING,
        help="The acceptance with which --fills verified reckons.",
    ),
]  # fmt: skip
Seed = Annotated[
    int | None,
    _option(_TRAINING, "--seed", "Seed of weights, order, fills and held-out documents.  [default: 0]", "N"),
]
Every = Annotated[
    int | None,
    _option(
        _TRAINING, "--every", "Steps between measurements on held-out text, after each of which all is kept.  "
        "[default: a twentieth of all, more in short runs]", "N",
    ),
]  # fmt: skip

Out = Annotated[
    Path | None,
    _option(_OUTPUT, "--out", "Directory for the draft module, for --draft of `generate`.  [required]", "DIR"),
]
Resume = Annotated[
    bool, _option(_OUTPUT, "--resume", "Go on where a run of the same command was stopped, exactly as if it had not.")
]
Force = Annotated[bool, _option(_OUTPUT, "--force", "Write over a run that is in --out.")]
