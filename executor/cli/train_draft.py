"""`spdsim-exec train-draft`: a draft module for a target, trained on text."""

from executor.cli import options as o
from executor.cli import train_options as t


def train_draft(
    model: t.Model = None,
    random_weights: t.RandomWeights = False,
    dtype: t.Dtype = None,
    data: t.Data = None,
    held_out: t.HeldOut = "0.05",
    sequence_length: t.SequenceLength = None,
    stages: t.Stages = None,
    layers: t.Layers = None,
    draft_layers: t.DraftLayers = None,
    anchors: t.Anchors = None,
    draft_vocab: t.DraftVocab = None,
    init_from_layers: t.InitFromLayers = None,
    steps: t.Steps = None,
    epochs: t.Epochs = None,
    learning_rate: t.LearningRate = 3e-4,
    warm_up: t.WarmUp = None,
    accumulate: t.Accumulate = 1,
    layout: t.Layout = "per_depth",
    fills: t.FillsOption = "verified",
    expected_acceptance: t.ExpectedAcceptance = 0.75,
    seed: t.Seed = None,
    every: t.Every = None,
    device: o.Device = None,
    threads: o.Threads = None,
    out: t.Out = None,
    resume: t.Resume = False,
    force: t.Force = False,
    json_file: o.Json = None,
    quiet: o.Quiet = False,
) -> None:
    """Train a draft module for a model, and measure how often its drafts would be accepted.

    The target stays as it is; the module learns to say what the target would, from the hidden states that a pipeline
    of so many stages has when it drafts, at every fill depth. The directory then serves `generate --draft DIR`.
    Ctrl-C keeps what is trained, and --resume goes on. Under torchrun every process trains on sequences of its own.

    Example:  spdsim-exec train-draft --model path/to/model --data chats.jsonl --stages 4 --draft-layers 2 --out draft
    """
    from executor.cli.train_session import train_and_report
    from executor.planning import Request, this_place
    from executor.planning.training import TrainingRequest
    from spdsim.errors import InputError

    if data is None:
        raise InputError("--data is missing: must be a file with text, or JSON lines")
    if out is None:
        raise InputError("--out is missing: must be a directory, or a name for a new one")
    run = Request(
        model=model, random_weights=random_weights, dtype=dtype, stages=stages, layers=layers,
        draft_layers=draft_layers, anchors=anchors, draft_vocab=draft_vocab, seed=seed, device=device, threads=threads,
    )  # fmt: skip
    request = TrainingRequest(
        run=run, data=data, out=out, held_out=held_out, init_from_layers=init_from_layers,
        sequence_length=sequence_length, steps=steps, epochs=epochs, accumulate=accumulate,
        learning_rate=learning_rate, warm_up=warm_up, layout=layout, fills=fills,
        expected_acceptance=expected_acceptance, every=every,
    )  # fmt: skip
    train_and_report(request, this_place(), json_file, resume=resume, force=force, is_quiet=quiet)
