"""The target in stages: what transformers compute, however it is cut, whatever was rejected on the way."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from executor.model.architecture import Architecture, read_architecture
from executor.model.head import Head
from executor.model.layers import make_layer
from executor.model.small import small_config
from executor.model.stage import StageModel
from executor.model.steps import Launch
from executor.model.weights import Checkpoint, RandomWeights, Weights
from spdsim.errors import InputError, RunError

torch.set_num_threads(1)

# Torch's own compiler imports what torch deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*script_method.* is deprecated:DeprecationWarning")

LAYERS, VOCAB, MAX_ROWS = 4, 61, 1400
SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": VOCAB, "max_position_embeddings": 256, "dtype": "float32",
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 5000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
WINDOWS = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2}
DELTA = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 6, "linear_key_head_dim": 8, "linear_value_head_dim": 10,
    "linear_conv_kernel_dim": 4,
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama"},
    "llama with biases, tied": {"model_type": "llama", "attention_bias": True, "tie_word_embeddings": True},
    "llama 3.1": {"model_type": "llama", "rope_parameters": LLAMA3, "head_dim": 16},
    "llama, stretched": {
        "model_type": "llama", "rope_scaling": {"type": "linear", "factor": 3.0}, "rope_theta": 2000.0,
    },
    "qwen2": {"model_type": "qwen2", "rms_norm_eps": 1e-5},
    "qwen2 with windows": {"model_type": "qwen2", **WINDOWS},
    "qwen3": {"model_type": "qwen3", "head_dim": 16, "tie_word_embeddings": True},
    "qwen3 with windows and biases": {"model_type": "qwen3", **WINDOWS, "head_dim": 6, "attention_bias": True},
    "mistral": {"model_type": "mistral", "sliding_window": 7, "head_dim": 12},
    "mistral without a window": {"model_type": "mistral", "sliding_window": None},
    "qwen3.5": {"model_type": "qwen3_5_text", **DELTA, "head_dim": 16},
    "qwen3.5, attending first": {
        "model_type": "qwen3_5_text", **DELTA, "head_dim": 8, "linear_num_value_heads": 2, "linear_conv_kernel_dim": 2,
        "layer_types": ["full_attention", "linear_attention"] * 2, "tie_word_embeddings": True, "attention_bias": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 300.0, "partial_rotary_factor": 0.5},
    },
}  # fmt: skip
LAUNCHES = [
    "eager",
    "compiled",
    pytest.param("cuda_graph", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")),
]
CUTS = [(4,), (1, 3), (3, 1), (2, 2), (1, 1, 2), (1, 2, 1), (2, 1, 1), (1, 1, 1, 1)]


@pytest.fixture(autouse=True)
def not_compiled() -> Iterator[None]:
    """What would be compiled runs as it is, in the fixed shapes that it is compiled for: compiling takes a minute."""
    with torch.compiler.set_stance("force_eager"):
        yield


@dataclass(frozen=True)
class Reference:
    """A model of transformers, saved, with weights that all matter."""

    model: Any
    directory: Path

    def pipeline(self, cut: tuple[int, ...], launch: Launch = "eager") -> "Pipeline":
        """Return what we make of the saved model."""
        return Pipeline(read_architecture(self.directory), Checkpoint(self.directory), cut, launch)

    def run(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states (T, L + 1, H) before each layer and after the last, unnormed, and the logits (T, V)."""
        last: list[Tensor] = []
        hook = self.model.model.norm.register_forward_pre_hook(lambda _, inputs: last.append(inputs[0][0]))
        with torch.inference_mode():
            out = self.model(tokens[None], output_hidden_states=True, use_cache=False)
        hook.remove()
        before = [state[0] for state in out.hidden_states[:-1]]
        return torch.stack([*before, last[0]], dim=1), out.logits[0]


@pytest.fixture(scope="module", params=CONFIGS, ids=str)
def reference(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    torch.manual_seed(1)
    config = AutoConfig.for_model(**SIZES, **CONFIGS[request.param])
    model: Any = AutoModelForCausalLM.from_config(config).eval()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.3)
    directory = tmp_path_factory.mktemp("model")
    model.save_pretrained(directory)
    return Reference(model, directory)


class Pipeline:
    """Stages one after another, with the head at the end: the target, run by hand."""

    def __init__(
        self, architecture: Architecture, weights: Weights, cut: tuple[int, ...], launch: Launch = "eager"
    ) -> None:
        self.device = "cuda" if launch == "cuda_graph" else "cpu"
        firsts = [sum(cut[:stage]) for stage in range(len(cut))]
        self.stages = [
            StageModel(
                architecture, weights, first, count, tuple(range(first + 1, first + count + 1)), first == 0,
                MAX_ROWS, 4, self.device, torch.float32, launch,
            )
            for first, count in zip(firsts, cut, strict=True)
        ]  # fmt: skip
        assert self.stages[0].embedding is not None
        table = self.stages[0].embedding.table_VH
        self.head = Head(architecture, weights, 0, architecture.vocab_size, self.device, torch.float32, table)

    def prefill(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states (T, L, H) after each layer, and the last token's logits (V,)."""
        state, features = tokens.to(self.device), []
        for stage in self.stages:
            stage.reset()
            output = stage.prefill(state)
            state = output.hidden_TH
            features.append(output.features_TAH)
        return torch.cat(features, dim=1).cpu(), self.head(state[-1:]).cpu()

    def forward(self, token: Tensor, position: int) -> tuple[Tensor, Tensor]:
        """Return the states (1, L, H) and the logits (V,)."""
        state, features = token.to(self.device), []
        for stage in self.stages:
            output = stage.forward(state, position)
            state = output.hidden_TH
            features.append(output.features_TAH.clone())
        return torch.cat(features, dim=1).cpu(), self.head(state).cpu()


def random_tokens(count: int, seed: int = 0, vocab: int = VOCAB) -> Tensor:
    return torch.randint(vocab, (count,), generator=torch.Generator().manual_seed(seed))


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    """Equal up to the rounding of another order of sums."""
    torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4 * theirs.abs().max().item())


@pytest.mark.parametrize("num_prompt", [1, 9])
def test_prefill_and_decoding_give_what_transformers_give(reference: Reference, num_prompt: int) -> None:
    """Every layer's output and the logits at every position, from the saved checkpoint, for every family."""
    tokens = random_tokens(20)
    states, logits = reference.run(tokens)
    cut = CUTS[num_prompt % len(CUTS)]
    pipeline = reference.pipeline(cut)
    features, first = pipeline.prefill(tokens[:num_prompt])
    assert_same(features, states[:num_prompt, 1:])
    assert_same(first, logits[num_prompt - 1])
    for position in range(num_prompt, len(tokens)):
        features, found = pipeline.forward(tokens[position : position + 1], position)
        assert_same(features[0], states[position, 1:])
        assert_same(found, logits[position])


@pytest.mark.parametrize("reference", ["llama 3.1", "qwen3.5"], indirect=True)
def test_a_long_prompt_gives_what_transformers_give(reference: Reference) -> None:
    """1200 tokens at once, and a few after them: far beyond the context that the frequencies are scaled from."""
    tokens = random_tokens(1205)
    states, logits = reference.run(tokens)
    pipeline = reference.pipeline((2, 2))
    features, first = pipeline.prefill(tokens[:1200])
    assert_same(features, states[:1200, 1:])
    assert_same(first, logits[1199])
    for position in range(1200, 1205):
        assert_same(pipeline.forward(tokens[position : position + 1], position)[1], logits[position])


@pytest.mark.parametrize("reference", ["qwen3 with windows and biases"], indirect=True)
def test_every_cut_gives_the_same_numbers(reference: Reference) -> None:
    """Bit for bit: a stage boundary moves a hidden state, and changes nothing."""
    tokens, found = random_tokens(12), []
    for cut in CUTS:
        pipeline = reference.pipeline(cut)
        pipeline.prefill(tokens[:6])
        found.append(torch.stack([pipeline.forward(tokens[i : i + 1], i)[1] for i in range(6, 12)]))
    assert all(torch.equal(logits, found[0]) for logits in found)


@pytest.mark.parametrize("launch", LAUNCHES)
@pytest.mark.parametrize("reference", ["llama", "qwen2 with windows", "mistral"], indirect=True)
def test_a_position_run_again_gives_the_same_bits(reference: Reference, launch: Launch) -> None:
    """After later rows were written, rejected and left behind, there is nothing to undo."""
    pipeline = reference.pipeline((3, 1), launch)
    tokens, others = random_tokens(20), random_tokens(20, seed=1)
    pipeline.prefill(tokens[:5])
    first = [pipeline.forward(tokens[i : i + 1], i) for i in range(5, 15)]
    for back in (14, 11, 5):
        for position in range(back, 15):
            pipeline.forward(others[position : position + 1], position)
        for position in range(back, 15):
            features, logits = pipeline.forward(tokens[position : position + 1], position)
            assert torch.equal(features, first[position - 5][0])
            assert torch.equal(logits, first[position - 5][1])


@pytest.mark.parametrize("launch", LAUNCHES[1:])
@pytest.mark.parametrize("reference", ["llama 3.1", "qwen2 with windows", "qwen3.5"], indirect=True)
def test_fixed_shapes_give_the_same_numbers(reference: Reference, launch: Launch) -> None:
    """In buckets of 256 and of 512 rows, however much of them is masked."""
    exact, fixed = reference.pipeline((3, 1)), reference.pipeline((3, 1), launch)
    tokens = random_tokens(260)
    for num_prompt in (3, 254):
        assert_same(fixed.prefill(tokens[:num_prompt])[1], exact.prefill(tokens[:num_prompt])[1])
        for position in range(num_prompt, num_prompt + 5):
            token = tokens[position : position + 1]
            assert_same(fixed.forward(token, position)[1], exact.forward(token, position)[1])


@pytest.mark.parametrize("num_prompt", [1, 3])
@pytest.mark.parametrize("reference", ["llama", "qwen3.5"], indirect=True)
def test_a_sequence_leaves_nothing_to_the_next_one(reference: Reference, num_prompt: int) -> None:
    """A short prompt after a long text gives the bits that it gives alone."""
    pipeline, tokens = reference.pipeline((2, 2)), random_tokens(60, seed=2)
    alone = pipeline.prefill(random_tokens(num_prompt))[1]
    pipeline.prefill(tokens[:50])
    for position in range(50, 60):
        pipeline.forward(tokens[position : position + 1], position)
    assert torch.equal(pipeline.prefill(random_tokens(num_prompt))[1], alone)


@pytest.mark.parametrize("reference", ["qwen3"], indirect=True)
def test_shards_of_the_lm_head_are_the_lm_head(reference: Reference) -> None:
    """Side by side they give every logit, from a tied table and from one that is shared."""
    architecture, weights = read_architecture(reference.directory), Checkpoint(reference.directory)
    hidden = torch.randn(1, 32, generator=torch.Generator().manual_seed(3))
    whole = Head(architecture, weights, 0, VOCAB, "cpu", torch.float32)
    shards = [
        Head(architecture, weights, first, min(16, VOCAB - first), "cpu", torch.float32) for first in (0, 16, 32, 48)
    ]
    assert_same(torch.cat([shard(hidden) for shard in shards]), whole(hidden))
    with torch.inference_mode():
        assert_same(whole(hidden), reference.model.lm_head(reference.model.model.norm(hidden))[0])
    shared = Head(architecture, weights, 16, 8, "cpu", torch.float32, whole.rows_VH)
    assert torch.equal(shared.rows_VH, whole.rows_VH[16:24])
    assert shared.rows_VH.untyped_storage().data_ptr() == whole.rows_VH.untyped_storage().data_ptr()


def small_stage(launch: Launch = "eager", **changes: Any) -> StageModel:
    config = small_config(hidden_size=32, num_layers=4)
    keys: dict[str, Any] = {
        "first_layer": 0, "num_layers": 2, "anchors": (1,), "has_embedding": True, "max_rows": 32, "num_states": 2,
    } | changes  # fmt: skip
    return StageModel(
        read_architecture(config), RandomWeights(0), **keys, device="cpu", dtype=torch.float32, launch=launch
    )


@pytest.mark.parametrize("launch", ["eager", "compiled"])
def test_rows_that_are_missing_or_too_many_are_refused(launch: Launch) -> None:
    """A gap before a position would be read as if it were text; so would a row of another sequence."""
    stage, token = small_stage(launch), torch.tensor([5])
    stage.prefill(torch.tensor([1, 2, 3]))
    with pytest.raises(RunError, match="position 4 is run: must be 0 to 3"):
        stage.forward(token, 4)
    stage.forward(token, 3)
    stage.forward(token, 1)
    with pytest.raises(RunError, match="position 4 is run: must be 0 to 2"):
        stage.forward(token, 4)
    stage.reset()
    with pytest.raises(RunError, match="position 1 is run: must be 0 to 0"):
        stage.forward(token, 1)
    with pytest.raises(RunError, match="row 32 is asked for: the sequence may have at most 32 rows"):
        stage.prefill(torch.zeros(33, dtype=torch.int64))
    stage.prefill(torch.zeros(32, dtype=torch.int64))
    with pytest.raises(RunError, match="row 32 is asked for: the sequence may have at most 32 rows"):
        stage.forward(token, 32)


@pytest.mark.parametrize("launch", LAUNCHES)
@pytest.mark.parametrize("reference", ["llama", "qwen3.5"], indirect=True)
def test_preparation_leaves_nothing_to_a_sequence(reference: Reference, launch: Launch) -> None:
    """What is prepared gives the bits that it gives unprepared."""
    fresh, prepared, tokens = reference.pipeline((1, 3), launch), reference.pipeline((1, 3), launch), random_tokens(9)
    for stage in prepared.stages:
        stage.prepare()
    assert torch.equal(prepared.prefill(tokens[:6])[1], fresh.prefill(tokens[:6])[1])
    for i in range(6, 9):
        assert torch.equal(prepared.forward(tokens[i : i + 1], i)[1], fresh.forward(tokens[i : i + 1], i)[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first_layer": 3}, "layers are 3 to 4: must be some of 0 to 3"),
        ({"num_layers": 0}, "layers are 0 to -1: must be some of 0 to 3"),
        ({"anchors": (0, 1)}, "anchor is 0: must be 1 to 2 on this stage"),
        ({"anchors": (3,)}, "anchor is 3: must be 1 to 2 on this stage"),
        ({"launch": "cuda_graph"}, "launch is cuda_graph on cpu: must be eager or compiled, or the device cuda"),
    ],
)
def test_a_stage_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    """Layers and anchors that are not there, and CUDA graphs where there is no CUDA."""
    with pytest.raises(InputError, match=message):
        small_stage(**changes)


def test_a_layer_stays_where_it_was_made() -> None:
    """Moving it would part names from the memory that is computed with, so it is refused."""
    shape = read_architecture(small_config(hidden_size=32, num_layers=1)).layers[0]
    with pytest.raises(RuntimeError, match="cannot be moved"):
        make_layer(shape, torch.float32, "cpu").to(torch.bfloat16)
