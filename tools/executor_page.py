"""The reference of the executor: every option by the command's own help, and what is said beside them."""

import subprocess
import sys

from executor.cli.app import app
from tools.pages import ROOT, environment

_TOP = """\
# The executor

This page is generated from `spdsim-exec --help` by `make docs`.

`spdsim-exec generate` decodes with a pipeline, measures plain decoding beside it, and prints the text and the figures.
`python -m executor generate` is the same, and so is `torchrun … -m executor generate`, where only process 0 prints.

Text and figures go to standard output, commentary and progress to standard error.
The exit code is 0, or 2 for wrong input or a run that failed, 130 after Ctrl-C.
A training whose loss is no number ends with 1.
After wrong input nothing is written; after a rank is lost, the JSON document is, with `"status": "incomplete"`.
`NO_COLOR` turns colours off, `COLUMNS` sets the width.
"""

_REST = """\
## Scenario files

With a scenario file the run is that scenario.
What is said wins in this order: an option, then `--set`, then the file, then the default.

| key | what becomes of it |
|---|---|
| `model` | a path: its weights if the directory has some, else random ones; a name or a shape: random weights |
| `partition`, `draft` | as written; `draft.placement` where workers share a device |
| `acceptance` | decides which drafts are right, unless `--draft` says otherwise |
| `workload` | random prompts of that length, and as many tokens as the simulator draws; end tokens end nothing |
| `runtime.launch` | as written on GPUs; on a CPU `eager`, or what `--launch` says |
| `runtime.sampling` | `sampled`: temperature 1, unless `--temperature` says otherwise |
| `runtime.control`, `runtime.messages` | as written |
| `runtime.posting`, `runtime.receipts` | always grouped and posted |
| `devices` | GPUs must be there; a CPU stands in for any device |
| `links`, `timing` | used with `--emulate` only |
| `seed` | as written, for verdicts, lengths, prompts and samples |
| `replications` | one |

Computed are dense models with the layers of Llama, Mistral, Qwen2, Qwen3 and Qwen3.5.
Mixtures of experts, quantised weights and other kinds of attention are refused.
`--emulate scenario` takes any shape, and needs `timing` of kind `profile`.

## Checkpoints of draft modules

`--draft` takes a directory with `draft.json` and `draft.safetensors`, or a v11 file of the authors' (`.pt`).
The path of the weights serves as well, and so does any `NAME.safetensors` beside its `NAME.json`.
`module:` in front of a path changes nothing.
Weights have the names of v11 in both formats, and `draft.json` says:

| key | meaning |
|---|---|
| `format`, `format_version` | `spdsim-draft`, and 1 |
| `hidden_size`, `vocab_size` | the target's |
| `num_stages`, `stage_layers` | the stages that it was made for, and the layers of each; `null`: as many in each |
| `num_layers` | layers of the module |
| `anchors` | the hidden states that it reads: 0 is the embedding, k the output of the k-th layer |
| `draft_token_ids` | the token ids that it drafts, rising; `null`: all |
| `layer` | `intermediate_size`, `num_heads`, `num_kv_heads`, `head_dim`, `rms_eps`; `null`: the target's |
| `rotary` | `dim` (rotated entries of a head), `theta`, `scaling`; `null`: the target's |
| `target` | `name`, `model_type` and `fingerprint` (SHA-256 of the names and sizes of its tensors), or `null` |
| `training` | whatever is known of the training |

## The JSON document

Times are in seconds, sizes in bytes; what does not exist is `null`.

| key | meaning |
|---|---|
| `schema_version`, `tool_version` | of the document, and of this program |
| `status`, `error` | `complete`, or `incomplete` and what ended the run |
| `origin` | `measured`, or `emulated` |
| `acceptance_forced` | whether it was decreed which drafts are right |
| `scenario`, `scenario_sha256`, `seed` | what was run, as a scenario that loads again |
| `versions` | of Python and of the packages that compute |
| `run` | the model, the cut, the schedule, who drafted, sampling, backend, device, launch, number format, threads |
| `warnings`, `notes` | what is wrong with the figures, and what helps to read them |
| `speedup` | over plain decoding in this run: `mean`, and the 95 % interval `low` to `high` over sequences |
| `speculative`, `plain` | of each method: counts, `tokens_per_s`, `time_per_token_s`, `time_to_first_token_s` |
| `acceptance_probability` | accepted drafts over verified drafts |
| `tokens_per_cycle`, `equivalent_accept_length` | K/C and nK/C |
| `closed_form_speedup` | the law's, at this run's acceptance |
| `num_cycles`, `num_drafts`, `num_accepted` | counts over all sequences, after the prefill |
| `differences_from_plain` | first tokens that are not plain decoding's: none; `null` where they may differ |
| `workers` | of each worker: `role`, `device`, `held_bytes` (weights, caches, states), `peak_bytes` (the most in use) |
| `sequences` | of each sequence and method: prompt, tokens, text, verdicts and times |

Decode times and speeds leave out the prefill and the first token.

## The trace

`--trace` writes the [trace format](trace.md) with `source` `executor` or `emulated`.
It holds the sequences decoded with drafts, one after another on one clock.
Where all workers were on one device, `plain_token_s` is plain decoding as it was measured.
Elsewhere the baseline is the plain pipeline on these devices, worked out from the trace.
"""


def executor_page() -> str:
    """Return the page."""
    commands = [command.callback.__name__ for command in app.registered_commands if command.callback]
    titles = [(), *((name.replace("_", "-"),) for name in commands)]
    helps = (f"## {' '.join(('spdsim-exec', *words))}\n\n```text\n{_help(*words)}```\n" for words in titles)
    return "\n".join((_TOP, *helps, _REST))


def _help(*words: str) -> str:
    command = [sys.executable, "-m", "executor", *words, "--help"]
    env = {**environment(), "COLUMNS": "100"}
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True).stdout
