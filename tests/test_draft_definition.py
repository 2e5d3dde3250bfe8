"""The module of a checkpoint drafts what its definition says, for every family, through whole decodes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer, Qwen3RotaryEmbedding

from executor.draft import checkpoint
from executor.draft.checkpoint import SavedDraft, tensor_sizes
from executor.draft.cut import Cut
from executor.draft.drafter import Drafter
from executor.draft.module import DraftModule
from executor.draft.runner import Runner
from executor.draft.shape import DraftShape, draft_layer
from executor.model.architecture import read_architecture
from executor.model.dense import DenseShape
from executor.model.parts import RmsNorm
from executor.model.rows import RowTable
from executor.model.small import small_config, write_model
from executor.plan import DraftPlan, Job
from executor.rank import run_local
from tests.draft_bench import HIDDEN, MAX_ROWS, VOCAB, Bench, World, close, decode, scripted, tried
from tests.draft_reference import angles_of, decoder_layer, draft_logits, rms_norm
from tests.small_targets import one_thread, small_plan

torch.set_num_threads(1)

Config = dict[str, Any]
SIZES: Config = {
    "hidden_size": HIDDEN, "intermediate_size": 48, "num_hidden_layers": 12, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": VOCAB, "dtype": "float32",
}  # fmt: skip
DELTA = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 6,
    "linear_conv_kernel_dim": 4,
}  # fmt: skip
FAMILIES: dict[str, Config] = {
    "llama": {"model_type": "llama", "head_dim": 8, "rope_theta": 10_000.0, "rms_norm_eps": 1e-5, **SIZES},
    "qwen3": {"model_type": "qwen3", "head_dim": 16, "rope_theta": 1_000_000.0, "rms_norm_eps": 1e-6, **SIZES},
    "qwen3.5": {
        "model_type": "qwen3_5_text", "head_dim": 16, "rope_theta": 50_000.0, "rms_norm_eps": 1e-6, **SIZES, **DELTA,
    },
}  # fmt: skip
ROTATED = {"qwen3.5": 0.25}
"""Of a head's entries, where it is not all of them."""
OFFSETS = {"qwen3.5": 1.0}
"""What the weight of the final norm is a difference from, where it is not nothing."""

FEW = [Cut((6, 6), (0, 5)), Cut((4, 1, 5, 2), (0, 4, 11)), Cut((2, 2, 2, 2, 1, 1, 1, 1), (0, 2, 6, 9, 12))]
AS_MANY = [
    Cut((7, 5), (0, 7, 11)), Cut((3, 3, 3, 3), (0, 3, 6, 9, 12)),
    Cut((2, 1, 2, 1, 2, 1, 2, 1), (0, 2, 3, 5, 6, 8, 9, 11, 12)),
]  # fmt: skip
"""With fewer anchors than depths, where one type serves several, and with one for each; even and uneven."""
SUBSET = (0, 2, 3, 7, 11, 12, 20, 23)

CASES = [(family, cut) for cut in (*FEW, *AS_MANY) for family in FAMILIES]


@dataclass(frozen=True)
class Made:
    """A module with random weights of some family: its weights, and what belongs to its target."""

    family: str
    shape: DraftShape
    state: dict[str, Tensor]
    norm_H: Tensor

    @property
    def config(self) -> Config:
        """The target's config.json."""
        return FAMILIES[self.family]

    def norm(self, x: Tensor) -> Tensor:
        """The target's final norm, by its definition."""
        return rms_norm(x, self.norm_H.double() + OFFSETS.get(self.family, 0.0), self.config["rms_norm_eps"])

    def saved(self, directory: Path) -> SavedDraft:
        """Save it as a directory and read it again."""
        checkpoint.save_directory(directory, self.state, self.shape, {}, self.config)
        return checkpoint.read(directory)


def layer_of(config: Mapping[str, Any]) -> DenseShape:
    return draft_layer(read_architecture(config).layers[0])


def made(family: str, cut: Cut, num_layers: int, ids: tuple[int, ...] | None) -> Made:
    """Return a module that attends to what it should: neither to one row nor to all alike."""
    shape = DraftShape(cut, layer_of(FAMILIES[family]), num_layers, VOCAB, ids)
    norm_H = torch.linspace(0.5, 1.5, HIDDEN) - OFFSETS.get(family, 0.0)
    return Made(family, shape, random_state(shape, len(cut.anchors) * 10 + cut.num_stages), norm_H)


def random_state(shape: DraftShape, seed: int) -> dict[str, Tensor]:
    """Return weights of no use, but of a size at which no row is like another."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, size in tensor_sizes(shape).items():
        middle, spread = (1.0, 0.3) if len(size) == 1 else (0.0, size[1] ** -0.5)
        state[name] = torch.randn(size, generator=generator) * spread + middle
    return state


def bench_of(module_of: Made, saved: SavedDraft, cut: Cut, lag: int, *, any_cut: bool = False) -> Bench:
    """Return a drafter with the module of a checkpoint, in a run with this cut."""
    architecture, cpu, dtype = read_architecture(module_of.config), torch.device("cpu"), torch.float32
    norm = RmsNorm(HIDDEN, architecture.rms_eps, dtype, cpu, architecture.norm_offset)
    norm.weight.data.copy_(module_of.norm_H)
    norm.derive()
    saved.check_target(module_of.config)
    shape = saved.shape_for(cut, layer_of(module_of.config), VOCAB, any_cut=any_cut)
    module = DraftModule(shape, norm, dtype, cpu)
    saved.fill(module)
    runner = Runner(module, RowTable(architecture.rotary, MAX_ROWS, dtype, cpu), lag, "eager")
    world = World(cut, 3)
    return Bench(world, module, norm, runner, Drafter(runner, world.embed))


def check_decode(on: Bench, of: Made, cut: Cut, lag: int) -> None:
    """Decode, with rejections, and compare every draft with what the definition gives."""
    angles, num_drafts = angles_of(of.config, ROTATED.get(of.family, 1.0)), 0
    for draft in decode(on, tried(cut, lag), scripted(4), 3):
        features_TMH = torch.stack(on.world.known(draft.newest))
        expected = draft_logits(
            of.state, of.config, of.norm, angles, features_TMH, draft.depths, cut.layers, cut.anchors
        )
        close(draft.logits, expected.float())
        num_drafts += 1
    assert num_drafts > 10


@pytest.mark.parametrize(("family", "cut"), CASES, ids=str)
def test_every_draft_of_a_checkpoint_is_the_definitions(family: str, cut: Cut, tmp_path: Path) -> None:
    """Saved, read and run with caches: as with every row computed anew, under a whole mask, for each draft."""
    number = CASES.index((family, cut))
    lag, num_layers, ids = number % 2, 1 + number % 3, SUBSET if number % 4 else None
    module = made(family, cut, num_layers, ids)
    check_decode(bench_of(module, module.saved(tmp_path), cut, lag), module, cut, lag)


@pytest.mark.parametrize("layers", [(6, 6), (5, 1, 6), (1,) * 12], ids=str)
def test_a_module_runs_with_stages_that_it_was_not_made_for(layers: tuple[int, ...], tmp_path: Path) -> None:
    """Its anchors are the same hidden states; which of them a depth has follows from the run's stages.

    With fewer stages some types serve no depth, with more one type serves several.
    """
    own = AS_MANY[1]
    module, cut = made("qwen3", own, 2, SUBSET), Cut(layers, own.anchors)
    check_decode(bench_of(module, module.saved(tmp_path), cut, 0, any_cut=True), module, cut, 0)


def as_directory(module: Made, path: Path) -> Path:
    checkpoint.save_directory(path / "draft", module.state, module.shape, {}, module.config)
    return path / "draft"


def as_weights(module: Made, path: Path) -> Path:
    return as_directory(module, path) / "draft.safetensors"


def as_v11(module: Made, path: Path) -> Path:
    checkpoint.convert(as_directory(module, path), path / "draft.pt", "base")
    return path / "draft.pt"


def as_v11_and_back(module: Made, path: Path) -> Path:
    checkpoint.convert(as_v11(module, path), path / "again")
    return path / "again"


def as_the_authors(module: Made, path: Path) -> Path:
    """Their training script's file: their keys in their order, stages of equal layers unsaid."""
    cut, ids = module.shape.cut, module.shape.draft_token_ids
    assert ids is not None and len(set(cut.layers)) == 1
    config = {
        "hidden_size": HIDDEN, "vocab_size": VOCAB, "model_type": module.config["model_type"].removesuffix("_text"),
        "base_model_path": "org/base", "draft_vocab_size": len(ids), "num_stages": cut.num_stages,
        "num_spec_layers": module.shape.num_layers, "version": 11, "trained_with_use_deepest": True,
        "aggr_feature_bound": list(cut.anchors), "num_aggr_types": len(cut.anchors),
        "spec_init_from_base_layers": [2, 5], "draft_token_ids": torch.tensor(ids).tolist(),
        "spec_intermediate_size_fallback": 9216,
    }  # fmt: skip
    torch.save({"state_dict": module.state, "config": config}, path / "theirs.pt")
    return path / "theirs.pt"


WAYS: list[Callable[[Made, Path], Path]] = [as_directory, as_weights, as_v11, as_v11_and_back, as_the_authors]


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_the_same_bits_whatever_the_file(family: str, tmp_path: Path) -> None:
    """Of a directory, of its weights, of a v11 file made from it and of what that becomes, of one that is theirs."""
    module, cut = made(family, AS_MANY[1], 2, SUBSET), AS_MANY[1]
    original = module.saved(tmp_path / "original")
    expected = list(decode(bench_of(module, original, cut, 0), tried(cut, 0), scripted(4), 3))
    for number, way in enumerate(WAYS):
        path = tmp_path / str(number)
        path.mkdir()
        on = bench_of(module, checkpoint.read(way(module, path)), cut, 0)
        for draft, other in zip(decode(on, tried(cut, 0), scripted(4), 3), expected, strict=True):
            assert torch.equal(draft.logits, other.logits), way.__name__


@pytest.mark.parametrize("stages", [2, 8])
def test_the_verdicts_of_a_run_are_those_that_the_definition_predicts(stages: int, tmp_path: Path) -> None:
    """With a target of files, whose stages put the features out: beside transformers' hidden states of whole texts."""
    one_thread()
    config = {
        **small_config(hidden_size=HIDDEN, num_layers=8, vocab_size=5),
        "bos_token_id": None,
        "eos_token_id": None,
    }
    write_model(tmp_path / "target", config, seed=0)
    plan, job = small_plan(stages, config=config, directory=tmp_path / "target"), Job("spd", 0, (3, 1, 4), 24)
    shape = DraftShape(Cut(plan.layers, plan.draft.anchors), layer_of(config), 2, 5, (0, 1, 3, 4))
    state = random_state(shape, stages)
    checkpoint.save_directory(tmp_path / "draft", state, shape, {}, config)
    plan = replace(plan, draft=DraftPlan(2, shape.cut.anchors, 4, checkpoint=tmp_path / "draft"))
    result = run_local(plan, [job], lambda _: None).results[0]
    tokens, accepted = predicted(tmp_path / "target", config, shape, state, job)
    assert (list(result.tokens), list(result.accepted)) == (tokens, accepted)
    assert 2 <= sum(accepted) < len(accepted)


def predicted(
    directory: Path, config: Config, shape: DraftShape, state: dict[str, Tensor], job: Job
) -> tuple[list[int], list[bool]]:
    """Return the tokens and verdicts of speculative pipeline decoding, with whole texts run anew in every cycle."""
    model, cut = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32), shape.cut
    norm, ids = model.model.norm.double(), shape.draft_token_ids
    assert ids is not None

    def run(text: list[int]) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            out = model.model(torch.tensor([text]), output_hidden_states=True)
            features_TMH = torch.stack([out.hidden_states[anchor][0] for anchor in cut.anchors], 1)
            return features_TMH, model.lm_head(out.last_hidden_state[0].float()).argmax(-1)

    num_prompt, accepted = len(job.prompt), list[bool]()
    text, in_flight = [*job.prompt, int(run(list(job.prompt))[1][-1])], 1
    while len(accepted) < job.max_new_tokens - 1:
        features_TMH, choices_T = run(text)
        behind = range(len(text) - 1, -1, -1)
        depths = [distance if distance < in_flight else cut.num_stages for distance in behind]
        with torch.no_grad():
            logits = draft_logits(state, config, norm, angles_of(config), features_TMH, depths, cut.layers, cut.anchors)
        draft = ids[int(logits.argmax())]
        if in_flight < cut.num_stages:
            text, in_flight = [*text, draft], in_flight + 1
            continue
        judged = len(text) - cut.num_stages + 1
        choice = int(choices_T[judged - 1])
        accepted.append(text[judged] == choice)
        text, in_flight = ([*text, draft], in_flight) if accepted[-1] else ([*text[:judged], choice], 1)
    return text[num_prompt : num_prompt + job.max_new_tokens], accepted


def test_the_definitions_layer_is_transformers() -> None:
    """A second witness: their decoder layer of Qwen3, with eager attention, in 64-bit floats."""
    config = FAMILIES["qwen3"]
    sizes = {key: value for key, value in config.items() if key not in ("model_type", "dtype", "rope_theta")}
    theirs = Qwen3Config(**sizes, rope_parameters={"rope_type": "default", "rope_theta": config["rope_theta"]})
    theirs._attn_implementation = "eager"
    torch.manual_seed(0)
    layer, hidden_1TH = Qwen3DecoderLayer(theirs, 0).double(), torch.randn(1, 9, HIDDEN, dtype=torch.float64)
    for parameter in layer.parameters():
        parameter.data.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.3)
    positions_1T = torch.arange(9)[None]
    rotary = Qwen3RotaryEmbedding(theirs)
    mask = torch.full((1, 1, 9, 9), float("-inf"), dtype=torch.float64).triu(1)
    out_1TH = layer(hidden_1TH, mask, positions_1T, position_embeddings=rotary(hidden_1TH, positions_1T))
    ours_TH = decoder_layer(layer.state_dict(), config, angles_of(config), hidden_1TH[0])
    # Their angles have 32 bits.
    torch.testing.assert_close(ours_TH, out_1TH[0].detach(), atol=1e-5, rtol=1e-5)
