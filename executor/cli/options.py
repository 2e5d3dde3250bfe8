"""The options of `spdsim-exec generate`, in the groups of its help."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from spdsim.schedules.options import Control, LmHead, Packing

# As in `executor.plan`, which loads pydantic, so that `--help` need not.
Backend = Literal["local", "socket", "gloo", "nccl"]
DeviceKind = Literal["cpu", "cuda"]
DType = Literal["float32", "bfloat16", "float16"]
Launch = Literal["eager", "compiled", "cuda_graph"]

_MODEL, _SCHEDULE, _DRAFTS = "The model", "The schedule", "Drafts"
_TEXT, _SAMPLING, _WHERE, _OUTPUT = "What is decoded", "Sampling", "Where it runs", "Output"


def _option(group: str, name: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False, rich_help_panel=group)


Scenario = Annotated[
    Path | None,
    typer.Argument(
        metavar="SCENARIO", help="Scenario file (YAML) that the run shall be; options given beside it win.",
        show_default=False,
    ),
]  # fmt: skip
Settings = Annotated[
    list[str] | None,
    _option(_SCHEDULE, "--set", "Change one key of the scenario; may be repeated; other options win.", "KEY=VALUE"),
]

Model = Annotated[
    str | None,
    _option(
        _MODEL, "--model",
        "Directory with config.json and weights (safetensors); with --random-weights or --emulate also a config.json "
        "or a name of `spdsim models`.  [default: a small built-in model]", "MODEL",
    ),
]  # fmt: skip
RandomWeights = Annotated[
    bool, _option(_MODEL, "--random-weights", "Use the model's shape with random weights, always the same ones.")
]
Dtype = Annotated[
    DType | None,
    _option(_MODEL, "--dtype", "Number format.  [default: float32 on a CPU, the model's own on a GPU]"),
]

Stages = Annotated[
    int | None, _option(_SCHEDULE, "--stages", "Pipeline stages; 1 is plain decoding.  [default: 2]", "N")
]
Layers = Annotated[
    str | None,
    _option(_SCHEDULE, "--layers", "Layers of each stage, such as 3,3,2.  [default: cut evenly]", "LIST"),
]
Head = Annotated[LmHead | None, _option(_SCHEDULE, "--lm-head", "Where the LM head is.  [default: draft_rank]")]
Lag = Annotated[
    int | None,
    _option(_SCHEDULE, "--verification-lag", "Cycles by which a verdict may be late.  [default: 0]", "K"),
]
ControlOption = Annotated[
    Control | None, _option(_SCHEDULE, "--control", "When the draft rank sends draft and verdict.  [default: early]")
]
Messages = Annotated[
    Packing | None,
    _option(_SCHEDULE, "--messages", "One message for each edge, or for each tensor.  [default: per_edge]"),
]

Draft = Annotated[
    str | None,
    _option(
        _DRAFTS, "--draft",
        "Who drafts: module (random weights), the checkpoint of one (FILE.pt or a directory), forced:p=0.8 or "
        "forced:FILE (which drafts are right is decreed), free:p=0.8 or free:FILE (as forced, and no module runs), or "
        "none.  [default: module, or the scenario's acceptance]",
        "WHO",
    ),
]  # fmt: skip
AnyStages = Annotated[
    bool, _option(_DRAFTS, "--any-stages", "Use a checkpoint with other stages than it was made for.")
]
DraftLayers = Annotated[
    int | None,
    _option(
        _DRAFTS, "--draft-layers", "Layers of the draft module.  [default: the checkpoint's, or a stage's, 4 at most]",
        "N",
    ),
]  # fmt: skip
Anchors = Annotated[
    str | None,
    _option(
        _DRAFTS, "--anchors", "Hidden states that the draft module reads: how many, or a list such as 0,4,7.  "
        "[default: the checkpoint's, or stages + 1]", "N|LIST",
    ),
]  # fmt: skip
DraftVocab = Annotated[
    int | None,
    _option(_DRAFTS, "--draft-vocab", "Token ids that can be drafted, the first N.  [default: all]", "N"),
]
DraftWidth = Annotated[
    int | None,
    _option(
        _DRAFTS, "--draft-width",
        "Drafts for one position: with more than 1 they are a tree, of which one branch is kept.  [default: 1]", "W",
    ),
]  # fmt: skip

Prompt = Annotated[str | None, _option(_TEXT, "--prompt", "Text to continue.  [default: Once upon a time]", "TEXT")]
PromptFile = Annotated[Path | None, _option(_TEXT, "--prompt-file", "File with the text to continue.", "FILE")]
PromptIds = Annotated[str | None, _option(_TEXT, "--prompt-ids", "Token ids to continue, such as 1,2,3.", "LIST")]
PromptTokens = Annotated[
    int | None, _option(_TEXT, "--prompt-tokens", "Continue N random token ids, others in each sequence.", "N")
]
MaxNewTokens = Annotated[
    int | None, _option(_TEXT, "--max-new-tokens", "Tokens to generate, at most.  [default: 64]", "N")
]
EndTokens = Annotated[
    list[int] | None,
    _option(
        _TEXT, "--end-token", "Token id that ends a text; may be repeated.  [default: those of the model's files; none "
        "with random weights or a scenario]", "ID",
    ),
]  # fmt: skip
IgnoreEnds = Annotated[bool, _option(_TEXT, "--ignore-end-tokens", "Generate all tokens, whatever they are.")]
Sequences = Annotated[int | None, _option(_TEXT, "--sequences", "Sequences, one after another.  [default: 1]", "N")]

Temperature = Annotated[
    float | None, _option(_SAMPLING, "--temperature", "0 takes the likeliest token.  [default: 0]", "X")
]
TopK = Annotated[int | None, _option(_SAMPLING, "--top-k", "Sample among the K likeliest tokens.  [default: all]", "K")]
TopP = Annotated[
    float | None,
    _option(_SAMPLING, "--top-p", "Sample among the likeliest tokens of this mass, up to 1.  [default: 1]", "P"),
]
Seed = Annotated[
    int | None,
    _option(_SAMPLING, "--seed", "Seed of samples, forced verdicts and random prompts.  [default: 0]", "N"),
]

Device = Annotated[
    DeviceKind | None, _option(_WHERE, "--device", "What computes.  [default: cuda if there is a GPU, else cpu]")
]
BackendOption = Annotated[
    Backend | None,
    _option(
        _WHERE, "--backend", "local: one process; socket: a process for each worker, on CPUs; gloo: the same, with "
        "slower messages; nccl: a process and a GPU for each.  [default: nccl where there are GPUs enough, else local]",
    ),
]  # fmt: skip
LaunchOption = Annotated[
    Launch | None,
    _option(_WHERE, "--launch", "How work is issued.  [default: cuda_graph on a GPU, eager on a CPU]"),
]
Eager = Annotated[bool, _option(_WHERE, "--eager", "Short for --launch eager.")]
Threads = Annotated[
    int | None,
    _option(_WHERE, "--threads", "Threads of each process on a CPU.  [default: the cores over the processes]", "N"),
]
Timeout = Annotated[
    float | None, _option(_WHERE, "--timeout", "Longest wait for another rank, in seconds.  [default: 60]", "SECONDS")
]
Port = Annotated[
    int | None, _option(_WHERE, "--port", "TCP port at which the processes meet.  [default: a free one]", "N")
]
Emulate = Annotated[
    str | None,
    _option(
        _WHERE, "--emulate",
        "Compute nothing: sleep as long as a profile (YAML) says, or `scenario` for the scenario's own times. "
        "Messages and schedule are real, tokens invented.", "PROFILE",
    ),
]  # fmt: skip

NoBaseline = Annotated[
    bool, _option(_OUTPUT, "--no-baseline", "Do not measure plain decoding, so that there is no speedup.")
]
Trace = Annotated[
    Path | None, _option(_OUTPUT, "--trace", "Write the spans, for `spdsim report` and `spdsim timeline`.", "FILE")
]
Perfetto = Annotated[Path | None, _option(_OUTPUT, "--perfetto", "Write the spans for the Perfetto viewer.", "FILE")]
Json = Annotated[
    Path | None, _option(_OUTPUT, "--json", "Write every figure as JSON; - is stdout, alone there.", "FILE")
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print nothing; for use with files.", rich_help_panel=_OUTPUT),
]
