"""`spdsim-exec generate`: a prompt in, text and figures out."""

from executor.cli import options as o


def generate(
    scenario: o.Scenario = None,
    model: o.Model = None,
    random_weights: o.RandomWeights = False,
    dtype: o.Dtype = None,
    stages: o.Stages = None,
    layers: o.Layers = None,
    lm_head: o.Head = None,
    verification_lag: o.Lag = None,
    control: o.ControlOption = None,
    messages: o.Messages = None,
    settings: o.Settings = None,
    draft: o.Draft = None,
    any_stages: o.AnyStages = False,
    draft_layers: o.DraftLayers = None,
    anchors: o.Anchors = None,
    draft_vocab: o.DraftVocab = None,
    draft_width: o.DraftWidth = None,
    prompt: o.Prompt = None,
    prompt_file: o.PromptFile = None,
    prompt_ids: o.PromptIds = None,
    prompt_tokens: o.PromptTokens = None,
    max_new_tokens: o.MaxNewTokens = None,
    end_tokens: o.EndTokens = None,
    ignore_end_tokens: o.IgnoreEnds = False,
    sequences: o.Sequences = None,
    temperature: o.Temperature = None,
    top_k: o.TopK = None,
    top_p: o.TopP = None,
    seed: o.Seed = None,
    device: o.Device = None,
    backend: o.BackendOption = None,
    launch: o.LaunchOption = None,
    eager: o.Eager = False,
    threads: o.Threads = None,
    timeout_s: o.Timeout = None,
    port: o.Port = None,
    emulate: o.Emulate = None,
    no_baseline: o.NoBaseline = False,
    trace_file: o.Trace = None,
    perfetto_file: o.Perfetto = None,
    json_file: o.Json = None,
    quiet: o.Quiet = False,
) -> None:
    """Decode with a pipeline, and measure how much faster it is than plain decoding.

    Without options: a small built-in model in two stages, in this process. With a scenario file the run is that
    scenario: its model, cut, schedule, workload and seed, and its acceptance decides which drafts are right. Settings
    (--set) win over the file, other options over both. On several nodes, torchrun starts the same command.

    Example:  spdsim-exec generate --model path/to/model --stages 4 --prompt "Once upon a time" --max-new-tokens 128
    """
    from executor.cli.session import Files, generate_and_report
    from executor.planning import Request, this_place
    from spdsim.errors import InputError

    if eager and launch not in (None, "eager"):
        raise InputError(f"--eager is given beside --launch {launch}: must be one of the two")
    request = Request(
        scenario=scenario, settings=tuple(settings or ()), model=model, random_weights=random_weights, dtype=dtype,
        stages=stages, layers=layers, lm_head=lm_head, verification_lag=verification_lag, control=control,
        messages=messages, draft=draft, any_stages=any_stages, draft_layers=draft_layers, anchors=anchors,
        draft_vocab=draft_vocab, draft_width=draft_width, prompt=prompt, prompt_file=prompt_file, prompt_ids=prompt_ids,
        prompt_tokens=prompt_tokens, max_new_tokens=max_new_tokens, end_tokens=tuple(end_tokens or ()),
        ignore_end_tokens=ignore_end_tokens, sequences=sequences, temperature=temperature, top_k=top_k, top_p=top_p,
        seed=seed, device=device, backend=backend, launch="eager" if eager else launch, threads=threads,
        timeout_s=timeout_s, emulate=emulate, has_baseline=not no_baseline,
        is_recorded=trace_file is not None or perfetto_file is not None,
    )  # fmt: skip
    files = Files(json_file, trace_file, perfetto_file)
    generate_and_report(request, this_place(), files, is_quiet=quiet, port=port)
