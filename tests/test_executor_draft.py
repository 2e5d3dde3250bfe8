"""The draft module at work: whatever the verdicts, it drafts what recomputing everything from scratch gives."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer, Qwen3RMSNorm, Qwen3RotaryEmbedding

from executor.draft.cut import Cut
from executor.draft.runner import Runner
from executor.model.rotary import Rotary
from executor.model.rows import RowTable
from executor.model.steps import bucket
from spdsim.errors import InputError, RunError
from spdsim.schedules.spd import Control, LmHead
from tests.draft_bench import EPS, HIDDEN, LAYER, MAX_ROWS, THETA, Bench, World, bench, close, decode, scripted, tried

torch.set_num_threads(1)

SUBSET = (1, 2, 3, 5, 8, 13, 21)

CUTS = [
    Cut((1, 2), (0,)),
    Cut((2, 1), (0, 3)),
    Cut((2, 2), (0, 2, 4)),
    Cut((2, 3, 1), (0, 1, 3, 5)),
    Cut((1, 1, 1), (0, 3)),
    Cut((2, 2, 2, 2), (0, 2, 4, 6, 8)),
    Cut((2, 2, 2, 2), (0, 5, 7)),
    Cut((3, 2, 2, 2, 2), (0, 2, 3, 10)),
    Cut((1, 1, 1, 1, 1), (0, 1, 2, 3, 4, 5)),
]
"""Anchors fewer than depths, as many, one alone; several in a stage, none in another, the last layer's output."""


@dataclass
class Slow:
    """The draft module without a cache, of transformers' layers: every draft computes every row anew."""

    cut: Cut
    weights: dict[str, Tensor]
    norm_H: Tensor

    def __post_init__(self) -> None:
        config = Qwen3Config(
            hidden_size=HIDDEN, intermediate_size=LAYER.intermediate_size, num_attention_heads=LAYER.num_heads,
            num_key_value_heads=LAYER.num_kv_heads, head_dim=LAYER.head_dim, rms_norm_eps=EPS, attention_bias=False,
            rope_parameters={"rope_type": "default", "rope_theta": THETA},
        )  # fmt: skip
        self.rotary = Qwen3RotaryEmbedding(config)
        self.norm = Qwen3RMSNorm(HIDDEN, EPS)
        self.norm.weight.data.copy_(self.norm_H)
        self.layers: list[Qwen3DecoderLayer] = []
        while of_layer := self._under(f"spec_layers.{len(self.layers)}."):
            layer = Qwen3DecoderLayer(config, len(self.layers))
            layer.load_state_dict(of_layer, strict=True)
            self.layers.append(layer)

    def logits(self, features: Sequence[Tensor], depths: Sequence[int]) -> Tensor:
        """Return what follows the last of the tokens, each known by all its features and its depth."""
        hidden_1TH = torch.stack([self._row(*token) for token in zip(features, depths, strict=True)])[None]
        positions_1T = torch.arange(len(features))[None]
        mask = torch.full((len(features), len(features)), float("-inf")).triu(1)[None, None]
        for layer in self.layers:
            hidden_1TH = layer(
                hidden_1TH, mask, positions_1T, position_embeddings=self.rotary(hidden_1TH, positions_1T)
            )
        logits_V: Tensor = self.norm(hidden_1TH[0, -1]) @ self.weights["lm_head.weight"].T
        return logits_V

    def _row(self, features_MH: Tensor, depth: int) -> Tensor:
        done = sum(self.cut.layers[:depth])
        known = features_MH[[anchor <= done for anchor in self.cut.anchors]].flatten()
        return self.weights[f"aggr_projs.{len(known) // HIDDEN - 1}.weight"] @ known

    def _under(self, prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): w for name, w in self.weights.items() if name.startswith(prefix)}


def slow_of(on: Bench) -> Slow:
    """Return the slow reference with the weights of a bench."""
    return Slow(on.world.cut, on.module.state_dict(), on.norm.scale)


@pytest.mark.parametrize("lag", [0, 1, 2])
@pytest.mark.parametrize("number", range(len(CUTS)), ids=[str(cut) for cut in CUTS])
def test_every_draft_is_what_computing_all_rows_anew_gives(number: int, lag: int) -> None:
    """Whatever was accepted, rejected, flushed and drafted again; for prompts shorter and longer than the pipeline.

    Weights packed for a CPU, too.
    """
    cut, turn = CUTS[number], (number + lag) % 3
    num_layers, prompt_tokens, ids = ((1, 6, None), (2, 1, SUBSET), (3, 2, None))[turn]
    on = bench(cut, num_layers, lag, number, ids)
    slow, num_drafts = slow_of(on), 0
    if number % 2:
        on.module.pack()
    for draft in decode(on, tried(cut, lag), scripted(number), prompt_tokens):
        close(draft.logits, slow.logits(on.world.known(draft.newest), draft.depths))
        num_drafts += 1
    assert num_drafts > 10


@pytest.mark.parametrize("control", ["early", "late", "lockstep"])
@pytest.mark.parametrize("head", ["draft_rank", "last_stage", "sharded", "own_device"])
def test_the_order_in_which_a_schedule_brings_features_makes_no_difference(head: LmHead, control: Control) -> None:
    """Features of flushed tokens come before their verdict or after it, with the last hidden state or apart."""
    cut, lag = CUTS[3], 1
    drafts, others = (
        list(decode(bench(cut, 2, lag, 5), layout, scripted(7), 3))
        for layout in (tried(cut, lag), tried(cut, lag, head, control))
    )
    assert len(drafts) == len(others) > 10
    for draft, other in zip(drafts, others, strict=True):
        close(draft.logits, other.logits)


@pytest.mark.parametrize("cut", [CUTS[0], CUTS[3], CUTS[7]], ids=str)
def test_a_static_program_drafts_what_single_operations_do(cut: Cut) -> None:
    """With its position in a tensor and more rows visible than are written, as compiled or captured it would run."""
    on = bench(cut, 2, 1, 3, SUBSET)
    for draft in decode(on, tried(cut, 1), scripted(4), 5):
        num_rows = cut.num_rows(draft.num_in_flight)
        for num_visible in (bucket(draft.newest + 1, MAX_ROWS), draft.newest + 1):
            program = on.runner.static_program(num_rows, num_visible)
            close(program(torch.tensor([draft.newest])), draft.logits)


def test_what_is_prepared_serves_sequences_of_every_length() -> None:
    """Across buckets, in fill cycles and full ones. (Here torch runs, step by step, what it would compile.)"""
    cut, prompts = CUTS[3], (3, 250, 505)
    with torch.compiler.set_stance("force_eager"):
        static = bench(cut, 1, 0, 2, max_rows=600, launch="compiled")
        static.drafter.prepare()
        for prompt_tokens in prompts:
            single = bench(cut, 1, 0, 2, max_rows=600)
            static.world = World(cut, 2)
            single.world.generator.set_state(static.world.generator.get_state())
            runs = (decode(on, tried(cut, 0), scripted(1), prompt_tokens) for on in (static, single))
            for draft, other in zip(*runs, strict=True):
                close(draft.logits, other.logits)


def test_a_long_prompt_is_run_in_parts() -> None:
    """The rows of each part see those of the parts before it."""
    cut = CUTS[3]
    on = bench(cut, 2, 0, 4, max_rows=700)
    first = next(decode(on, tried(cut, 0), scripted(1), 600))
    close(first.logits, slow_of(on).logits(on.world.known(first.newest), first.depths))


def test_sequences_leave_nothing_behind() -> None:
    """A drafter that has decoded drafts as a new one does."""
    cut = CUTS[5]
    used, fresh = bench(cut, 2, 0, 1), bench(cut, 2, 0, 1)
    for prompt_tokens in (20, 3):
        assert len(list(decode(used, tried(cut, 0), scripted(prompt_tokens), prompt_tokens))) > 10
    fresh.world.generator.set_state(used.world.generator.get_state())
    pairs = zip(decode(used, tried(cut, 0), scripted(1), 4), decode(fresh, tried(cut, 0), scripted(1), 4), strict=True)
    for draft, other in pairs:
        close(draft.logits, other.logits)


def test_memory_does_not_grow_with_tokens() -> None:
    """Neither with those of a prompt nor with those that are decoded, whatever is rejected."""
    on, cut = bench(CUTS[3], 2, 1, 1), CUTS[3]
    used = []
    for prompt_tokens, length in ((2, 5), (40, 30)):
        for _ in decode(on, tried(cut, 1), scripted(length, length), prompt_tokens):
            pass
        on.world.features.clear()
        used.append(live_bytes())
    assert used[0] == used[1]


def live_bytes() -> int:
    """Return the bytes of all tensors that anything holds."""
    gc.collect()
    tensors = (thing for thing in gc.get_objects() if issubclass(type(thing), Tensor))
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def test_a_sequence_longer_than_the_caches_is_refused() -> None:
    """As one line, before anything is written beyond them."""
    on = bench(CUTS[0], 1, 0, 0)
    with pytest.raises(RunError, match=f"row {MAX_ROWS} is asked for: the sequence may have at most {MAX_ROWS} rows"):
        on.drafter.draft(MAX_ROWS, 1)


def test_graphs_need_cuda() -> None:
    """Said before anything is run."""
    on = bench(CUTS[0], 1, 0, 0)
    with pytest.raises(InputError, match="launch is cuda_graph on cpu: must be eager or compiled, or the device cuda"):
        Runner(on.module, RowTable(Rotary(8, THETA), 8, torch.float32, "cpu"), 0, "cuda_graph")
