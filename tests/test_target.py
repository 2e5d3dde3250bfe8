"""The target model's shape: published counts of weights, bytes of layers, config.json files, memory."""

import json
from pathlib import Path
from typing import Any

import pytest

from spdsim.errors import ScenarioError
from spdsim.scenario import Scenario, load_scenario, scenario_document
from spdsim.scenario.catalogue import entries
from spdsim.scenario.memory import device_bytes, target_bytes
from spdsim.scenario.target import TargetModel
from spdsim.scenario.target_checks import model_problems
from spdsim.scenario.target_files import load_model
from spdsim.shapes.huggingface import FAMILIES, shape_of

PUBLISHED = {
    "llama-2-7b": (6.74e9, None), "llama-3.1-8b": (8.03e9, None), "llama-3.1-70b": (70.6e9, None),
    "llama-3.2-1b": (1.236e9, None), "qwen3-0.6b": (0.596e9, None),
    "qwen2.5-7b": (7.62e9, None), "qwen3-4b": (4.02e9, None), "qwen3-8b": (8.19e9, None),
    "qwen3-32b": (32.8e9, None), "qwen3-30b-a3b": (30.5e9, 3.3e9), "mistral-7b": (7.24e9, None),
    "mixtral-8x7b": (46.7e9, 12.9e9),
}  # fmt: skip
"""Weights in all, and those that a token uses, as model cards tell them."""

BASE: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 8, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 500,
}  # fmt: skip
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
LINEAR = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 16,
}  # fmt: skip

# What each family adds to the base, and the keys that its shape must have.
CONFIGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "llama": ({}, {"head_dim": 16, "qk_norm": False, "attention_bias": False}),
    "qwen2": ({}, {"head_dim": 16, "attention_bias": True}),
    "qwen3": ({}, {"head_dim": 128, "qk_norm": True}),
    "mistral": ({"sliding_window": None}, {"sliding_window": None}),
    "mixtral": (
        {"num_local_experts": 8, "num_experts_per_tok": 2},
        {"num_experts": 8, "moe_intermediate_size": 160, "shared_expert_intermediate_size": 0},
    ),
    "qwen2_moe": (
        {**EXPERTS, "shared_expert_intermediate_size": 96, "mlp_only_layers": [0]},
        {"shared_expert_intermediate_size": 96, "dense_layers": (0,), "attention_bias": True},
    ),
    "qwen3_moe": ({**EXPERTS, "decoder_sparse_step": 2}, {"dense_layers": (0, 2, 4, 6), "head_dim": 16}),
    "qwen3_next": (
        {**EXPERTS, **LINEAR, "full_attention_interval": 2},
        {"full_attention_interval": 2, "attention_output_gate": True, "shared_expert_intermediate_size": 512},
    ),
    "qwen3_5": (LINEAR, {"full_attention_interval": 4, "head_dim": 256, "qk_norm": True, "num_experts": None}),
    "qwen3_5_text": ({**LINEAR, "attn_output_gate": False}, {"attention_output_gate": False}),
    "qwen3_5_moe": ({**EXPERTS, **LINEAR}, {"experts_per_token": 2, "linear_conv_kernel_dim": 4}),
    "qwen3_5_moe_text": ({**EXPERTS, **LINEAR}, {"moe_intermediate_size": 48}),
}


def config(family: str = "llama", **changes: Any) -> dict[str, Any]:
    """Return a small config.json of a family."""
    return {"model_type": family, **BASE, **CONFIGS[family][0], **changes}


def model_of(family: str = "llama", **changes: Any) -> TargetModel:
    """Return the model of a small config.json."""
    return TargetModel(name="m", **shape_of(config(family, **changes)))


# Weights.


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_model_has_as_many_weights_as_is_published(name: str) -> None:
    """In all to half a per cent; in use to the two digits that are told."""
    total, active = PUBLISHED[name]
    model = load_model(name)
    assert model.num_params == pytest.approx(total, rel=5e-3)
    assert model.num_active_params == pytest.approx(active or model.num_params, rel=2e-2)


@pytest.mark.parametrize(("name", "total"), [("Qwen3.5-4B", 4e9), ("Qwen3.5-9B", 9e9)])
def test_a_hybrid_is_about_as_large_as_its_name(name: str, total: float) -> None:
    """Names round, and leave out what sees pictures."""
    assert load_model(name).num_params == pytest.approx(total, rel=0.12)


def test_a_hybrid_mixture_has_exactly_the_weights_of_its_checkpoint() -> None:
    """Qwen3-Next-80B-A3B: 79,674,391,296 weights in the published checkpoint's language model."""
    shape = shape_of({
        "model_type": "qwen3_next", "hidden_size": 2048, "num_hidden_layers": 48, "vocab_size": 151936,
        "head_dim": 256, "num_attention_heads": 16, "num_key_value_heads": 2, "num_experts": 512,
        "num_experts_per_tok": 10, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512,
        "intermediate_size": 5120,
    })  # fmt: skip
    model = TargetModel(**shape)
    assert (model.num_params, model.num_active_params) == (79_674_391_296, 3_874_929_408)


@pytest.mark.parametrize("name", entries("models"))
def test_a_layer_reads_what_it_multiplies(name: str) -> None:
    """At two bytes a weight: two for each weight that a token uses; the rest is norms, and experts at rest."""
    model = load_model(name)
    assert len(model.layers) == model.num_layers
    for layer in model.layers:
        assert sum(layer.matrices_bytes) == layer.read_bytes == 2 * layer.active_params
        assert layer.read_bytes < layer.weight_bytes
        assert layer.is_moe or layer.weight_bytes < 1.003 * layer.read_bytes
        assert (layer.kv_bytes_per_token == 0) == (layer.state_bytes > 0) == (layer.kind == "gated_delta")
        assert len(layer.matrix_names) == len(layer.matrices_bytes)


def test_layers_are_made_once() -> None:
    """They are asked for wherever bytes are counted."""
    assert load_model("qwen3-32b").layers is load_model("qwen3-32b").layers
    model = load_model("qwen3-4b")
    assert model.model_copy(update={"dtype_bytes": 4}).layers[0].weight_bytes == 2 * model.layers[0].weight_bytes


def test_the_draft_modules_layer_is_dense_attention_of_the_targets_family() -> None:
    """For a plain dense target it is the target's own; never quantised, never a mixture, never recurrent."""
    for name in ("llama-3.1-8b", "qwen3-4b", "qwen2.5-7b"):
        model = load_model(name)
        assert model.draft_layer == model.layers[0]
        assert model.model_copy(update={"weight_bits": 4.0}).draft_layer == model.draft_layer
    for name in ("mixtral-8x7b", "qwen3.5-9b"):
        layer = load_model(name).draft_layer
        assert (layer.kind, layer.is_moe, layer.window_tokens) == ("attention", False, None)


def test_a_hybrid_has_attention_in_every_fourth_layer_and_a_state_elsewhere() -> None:
    """Qwen3.5: 32 value heads of 128 by 128 in fp32; the convolution sees 3 earlier tokens of 8192 channels."""
    layers = load_model("qwen3.5-4b").layers
    assert [index for index, layer in enumerate(layers) if layer.kind == "attention"] == list(range(3, 32, 4))
    assert layers[0].state_bytes == 32 * 128 * 128 * 4 + 3 * 8192 * 2
    # Query and its gate, key, value.
    assert layers[3].matrices_bytes[0] == 2 * 2560 * (2 * 16 + 2 * 4) * 256


def test_a_mixture_reads_its_active_experts_and_holds_all() -> None:
    """Router, six experts of which two are read, and a shared one with its gate."""
    dense, layer = model_of("qwen2_moe").layers[:2]
    assert (dense.is_moe, layer.is_moe) == (False, True)
    assert layer.matrices_bytes[2:] == (2 * 64 * 6, 2 * 2 * 64 * 96, 2 * 2 * 48 * 64, 2 * 64 * 193, 2 * 96 * 64)
    assert layer.weight_bytes - layer.read_bytes == 2 * (4 * 3 * 64 * 48 + 2 * 64 + 4 * 16 * 2)


# Quantisation.


@pytest.mark.parametrize(
    ("quantization", "bits_per_weight"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, 4 + 20 / 32),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64, "zero_point": False}, 4 + 16 / 64),
        ({"quant_method": "fp8", "weight_block_size": [8, 8]}, 8 + 32 / 64),
        ({"quant_method": "fp8"}, 8),
        ({"load_in_4bit": True}, 4 + 32 / 64),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True}, 4 + 8.125 / 64),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {
                "num_bits": 8, "group_size": 16, "symmetric": True}}}}, 9,
        ),
    ],
)  # fmt: skip
def test_quantised_weights_take_their_bits_and_their_scales(
    quantization: dict[str, Any], bits_per_weight: float
) -> None:
    """In the layers' matrices; norms, tables, cache and draft module stay as the dtype says."""
    plain, model = model_of(), model_of(quantization_config=quantization)
    for before, after in zip(plain.layers, model.layers, strict=True):
        assert after.read_bytes == pytest.approx(before.read_bytes * bits_per_weight / 16)
        assert before.weight_bytes - before.read_bytes == pytest.approx(after.weight_bytes - after.read_bytes, abs=1)
        assert after.kv_bytes_per_token == before.kv_bytes_per_token
    assert model.head_bytes == model.embedding_bytes == model.table_bytes == 500 * 64 * 2
    assert (model.num_params, model.draft_layer) == (plain.num_params, plain.draft_layer)


def test_one_scale_an_output_and_a_quantised_head() -> None:
    """A group of -1 is a scale for each output: 16 bits and a zero point of 8."""
    scheme = {"quant_method": "gptq", "bits": 8, "group_size": -1, "lm_head": True}
    model = model_of(quantization_config=scheme)
    assert model.layers[0].matrices_bytes[-1] == 160 * 64 + 64 * 3
    assert model.head_bytes == 500 * 64 + 500 * 3
    assert model.embedding_bytes == 500 * 64 * 2


def test_a_cache_of_another_type() -> None:
    """Half the bytes for fp8, as the file says or as the scenario does."""
    groups = {"group_0": {"weights": {"num_bits": 8}}}
    scheme = {"quant_method": "compressed-tensors", "config_groups": groups, "kv_cache_scheme": {"num_bits": 8}}
    assert (
        2 * model_of(quantization_config=scheme).layers[0].kv_bytes_per_token == model_of().layers[0].kv_bytes_per_token
    )
    model = load_model("llama-3.1-8b")
    small = model.model_copy(update={"kv_dtype_bytes": 1.0})
    assert 2 * small.layers[0].kv_bytes_per_token == model.layers[0].kv_bytes_per_token == 4096


# Files.


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_read_from_its_config(family: str) -> None:
    """What every family has, and what is its own; what comes out loads and keeps the rules."""
    model = model_of(family)
    assert (model.num_layers, model.hidden_size, model.num_heads, model.num_kv_heads) == (8, 64, 4, 2)
    assert {key: getattr(model, key) for key in CONFIGS[family][1]} == CONFIGS[family][1]
    assert list(model_problems(model)) == []
    assert model.dtype_bytes == 2
    assert len(model.layers) == 8


def test_a_language_model_inside_a_multimodal_one_is_found() -> None:
    """In text_config; known by the outer type, or else by its own."""
    inner = model_of("qwen3_5")
    text = {key: value for key, value in config("qwen3_5").items() if key != "model_type"}
    assert TargetModel(name="m", **shape_of({"model_type": "qwen3_5", "text_config": text})) == inner
    wrapped = {"model_type": "llava", "text_config": config("llama"), "tie_word_embeddings": True}
    assert TargetModel(**shape_of(wrapped)).tied_embeddings


@pytest.mark.parametrize(("dtype", "num_bytes"), [("float32", 4), ("torch.bfloat16", 2), ("float16", 2), ("auto", 2)])
def test_the_dtype_gives_the_bytes(dtype: str, num_bytes: int) -> None:
    """By its new key and by its old one."""
    assert model_of(dtype=dtype).dtype_bytes == model_of(torch_dtype=dtype).dtype_bytes == num_bytes


def test_sliding_windows_are_where_the_family_has_them() -> None:
    """Mistral: everywhere unless null; Qwen2 and 3: from a layer on; Qwen2-MoE: every other one below a layer."""

    def windows(family: str, **changes: Any) -> list[int | None]:
        return [layer.window_tokens for layer in model_of(family, **changes).layers]

    used = {"use_sliding_window": True, "sliding_window": 100}
    assert windows("mistral", sliding_window=100) == [100] * 8
    assert shape_of({key: value for key, value in config("mistral").items() if key != "sliding_window"})[
        "sliding_window"
    ] == 4096  # fmt: skip
    for family in ("mistral", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe"):
        assert windows(family) == [None] * 8
    assert windows("qwen2", **used, max_window_layers=6) == [None] * 6 + [100] * 2
    assert windows("qwen2_moe", **used, max_window_layers=3) == [100, None, 100, *[None] * 5]
    types = ["sliding_attention", "full_attention"] * 4
    assert windows("qwen3", **used, layer_types=types) == [100, None] * 4


BAD = {
    "no type": ({"model_type": None}, "model_type is missing: must be one of llama, qwen2, "),
    "an unknown type": ({"model_type": "gemma3"}, 'model_type is "gemma3": must be one of llama, '),
    "a misspelt type": ({"model_type": "lama"}, "(did you mean llama?)"),
    "latent attention": ({"model_type": "deepseek_v3"}, "has multi-head latent attention, which is not known here"),
    "no hidden size": ({"hidden_size": None}, "hidden_size is missing: a llama config must have it"),
    "text for a number": ({"hidden_size": "64"}, 'hidden_size is "64": must be a whole number'),
    "a truth for a number": ({"vocab_size": True}, "vocab_size is true: must be a whole number"),
    "a negative number": ({"num_hidden_layers": -1}, "num_hidden_layers is -1: must be at least 1"),
    "a number beyond all sense": ({"hidden_size": 10**30}, "must be at most 1000000000"),
    "heads that do not divide": (
        {"num_key_value_heads": 3}, "num_key_value_heads is 3: must divide num_attention_heads, 4"
    ),
    "key and value heads as the family has them, which do not fit": (
        {"model_type": "qwen2", "num_key_value_heads": ...}, "num_key_value_heads is missing: a qwen2 config must have"
    ),
    "no size of a head": (
        {"num_attention_heads": 6}, "num_attention_heads is 6: must divide hidden_size, 64, where no head_dim is given"
    ),
    "an unknown dtype": ({"dtype": "int3"}, 'dtype is "int3": must be one of float32, bfloat16, float16'),
    "a flag in words": ({"tie_word_embeddings": "yes"}, 'tie_word_embeddings is "yes": must be true or false'),
    "an unknown method": (
        {"quantization_config": {"quant_method": "gptk"}},
        'quantization_config.quant_method is "gptk": must be one of gptq, awq, compressed-tensors, fp8, bitsandbytes '
        "(did you mean gptq?)",
    ),
    "no method": (
        {"quantization_config": {"bits": 4}},
        "quantization_config.quant_method is missing: a llama config must have it",
    ),
    "quantisation that is no mapping": ({"quantization_config": 4}, "quantization_config is 4: must be a mapping"),
    "mixed schemes": (
        {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {
            "a": {"weights": {"num_bits": 4}}, "b": {"weights": {"num_bits": 8}}}}}, "mixed schemes are not known",
    ),
    "a block of one side": (
        {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128]}}, "must be two whole numbers"
    ),
    "bits beyond all sense": (
        {"quantization_config": {"quant_method": "gptq", "bits": 400}},
        "quantization_config.bits is 400: must be at most 32",
    ),
    "too many active experts": (
        {"model_type": "mixtral", "num_local_experts": 2, "num_experts_per_tok": 3},
        "num_experts_per_tok is 3: must be at most num_local_experts, 2",
    ),
    "no experts": ({"model_type": "qwen3_moe"}, "moe_intermediate_size is missing: a qwen3_moe config must have it"),
    "layer types of another number": (
        {"model_type": "qwen3_5", "layer_types": ["full_attention"]}, "must have 8 entries, one for each of "
    ),
    "a layer type of another family": (
        {"model_type": "qwen3_5", "layer_types": ["mamba"] * 8},
        "must be made of full_attention and linear_attention, not mamba",
    ),
    "a dense layer that is not there": (
        {"model_type": "qwen3_moe", **EXPERTS, "mlp_only_layers": [8]}, "mlp_only_layers is [8]: must be layers from 0"
    ),
    "a text_config that is no mapping": ({"text_config": [1]}, "text_config is [1]: must be a mapping"),
    "value heads that do not divide": (
        {"model_type": "qwen3_5", "linear_num_key_heads": 3}, "must be a multiple of linear_num_key_heads, 3"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), BAD.values(), ids=BAD)
def test_a_bad_config_is_told_in_one_line(changes: dict[str, Any], expected: str, tmp_path: Path) -> None:
    """File, key, value, rule."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({key: value for key, value in (config() | changes).items() if value is not ...}))
    with pytest.raises(ScenarioError) as caught:
        load_model(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [None, True, -1, 0, 1.5, "x", [], {}, [1], {"a": 1}, 10**400])
@pytest.mark.parametrize("family", ["mixtral", "qwen3_5_moe", "qwen2"])
def test_no_value_of_a_key_is_a_traceback(family: str, value: Any) -> None:
    """Any key may hold anything: it is a shape that keeps the rules, or one error."""
    for key in [*config(family), "quantization_config", "dtype", "layer_types", "head_dim", "text_config"]:
        try:
            model = TargetModel(**shape_of(config(family, **{key: value})))
        except ScenarioError:
            continue
        assert list(model_problems(model)) == []
        assert model.weight_bytes > 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{", "is not JSON: "), ("[1]", "is [1]: must be a mapping of keys"), ("", "is not JSON: "), ("NaN", "is .nan: ")],
)
def test_a_file_that_is_no_config_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    """With its name."""
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ScenarioError, match=expected.replace("[", r"\[")):
        load_model(str(tmp_path))


# Scenarios.

SCENARIO = """\
model: {model}
devices: {{gpu: {{name: gpu, memory_bytes: 1e12}}, count: 5}}
links: {{intra_node: {{latency_s: 1e-6, bandwidth_bytes_per_s: 1e9}}}}
partition: {{stages: {stages}, layers: even, lm_head: last_stage, verification_lag: {lag}}}
draft: {{layers: 1, anchors: 1}}
acceptance: {{kind: bernoulli, p: 0.8}}
workload: {{prompt_tokens: 1000, new_tokens: 24}}
timing: {{kind: profile, profile: {{forward: 1e-3, draft: 1e-3, verify: 1e-4}}}}
"""


def scenario(directory: Path, model: str, *settings: str, stages: int = 2, lag: int = 0) -> Scenario:
    """Load a scenario of a model; `directory` holds it."""
    path = directory / "x.yaml"
    path.write_text(SCENARIO.format(model=model, stages=stages, lag=lag))
    return load_scenario(path, settings)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with a model in Some-Model-1B/config.json."""
    (tmp_path / "Some-Model-1B").mkdir()
    (tmp_path / "Some-Model-1B" / "config.json").write_text(json.dumps(config("qwen3_5")))
    return tmp_path


@pytest.mark.parametrize("written", ["Some-Model-1B", "Some-Model-1B/config.json", "./Some-Model-1B/"])
def test_a_scenario_names_a_config_beside_it(directory: Path, written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From wherever it is loaded; the model is called as its directory is, and its origin is told."""
    monkeypatch.chdir("/")
    model = scenario(directory, written).model
    assert (model.name, model.origin, model.source) == (
        "Some-Model-1B",
        "assumed",
        "given in Some-Model-1B/config.json",
    )
    assert model.layers[0].kind == "gated_delta"


def test_an_option_names_a_config_in_the_current_directory(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for every file that an option names."""
    (directory / "elsewhere").mkdir()
    monkeypatch.chdir(directory)
    loaded = scenario(directory / "elsewhere", "tiny", "model=Some-Model-1B", "model.dtype_bytes=4")
    assert (loaded.model.name, loaded.model.dtype_bytes) == ("Some-Model-1B", 4)
    assert loaded.model.source == "given in Some-Model-1B/config.json; dtype_bytes as the scenario says"


def test_own_keys_win_over_those_of_a_file_or_an_entry(directory: Path) -> None:
    """And the source says which they are."""
    model = scenario(directory, "{base: Some-Model-1B, weight_bits: 4, name: mine}").model
    assert (model.name, model.weight_bits, model.hidden_size) == ("mine", 4, 64)
    assert model.source.endswith("; weight_bits as the scenario says")
    assert scenario(directory, "{base: tiny, num_layers: 12}").model.source.endswith(
        "; num_layers as the scenario says"
    )


def test_a_scenario_with_a_file_dumps_to_plain_numbers_that_load_again(directory: Path, tmp_path: Path) -> None:
    """The file is not needed any more."""
    first = scenario(directory, "Some-Model-1B")
    document = scenario_document(first)
    (tmp_path / "again.yaml").write_text(json.dumps(document))
    (directory / "Some-Model-1B" / "config.json").unlink()
    again = load_scenario(tmp_path / "again.yaml")
    assert again.model == first.model
    assert scenario_document(again) == document


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("no/such/model", 'x.yaml:1: model is "no/such/model": there is no such file, nor a model of this name'),
        ("empty", 'x.yaml:1: model is "empty": has no config.json'),
        ("{base: gone.json}", 'x.yaml:1: model.base is "gone.json": there is no such file'),
        ("qwen3-4c", "(did you mean qwen3-4b?)"),
        ("{base: tiny, num_kv_heads: 3}", "x.yaml:1: model.num_kv_heads is 3: must divide num_heads, 4"),
        ("{base: tiny, layer_types: [full_attention]}", "model.layer_types has 1 entry: must have 8 entries, one for"),
        ("{base: tiny, layer_types: [x]}", "model.layer_types[0] is "),
        ("{base: tiny, full_attention_interval: 4}", "model.linear_num_key_heads is missing: must be given for layers"),
        ("{base: tiny, num_experts: 4}", "model.experts_per_token is missing: must be given with num_experts"),
        ("{base: mixtral-8x7b, experts_per_token: 9}", "model.experts_per_token is 9: must be at most num_experts, 8"),
        ("{base: mixtral-8x7b, dense_layers: [32]}", "model.dense_layers is [32]: must be layers from 0 to 31"),
        ("{base: tiny, weight_group_size: 4}", "model.weight_bits is missing: must be given with weight_group_size"),
        ("{base: tiny, weight_bits: 0}", "model.weight_bits is 0: must be greater than 0"),
        ("{base: qwen3.5-4b, linear_num_key_heads: 5}", "must be a multiple of linear_num_key_heads, 5"),
        (
            "{base: tiny, layer_types: [sliding_attention, sliding_attention, sliding_attention, sliding_attention, "
            "full_attention, full_attention, full_attention, full_attention]}",
            "model.sliding_window is missing: must be given for layers of type sliding_attention",
        ),
    ],
)
def test_a_model_that_is_none_is_told_with_its_line(directory: Path, written: str, expected: str) -> None:
    """Line, key, value, rule."""
    (directory / "empty").mkdir()
    with pytest.raises(ScenarioError) as caught:
        scenario(directory, written)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("written", ["~nobody-of-this-name/model", "x" * 5000, "a\0b/c", "", " "])
def test_what_can_be_no_path_is_refused_like_any_other(written: str) -> None:
    """The operating system's reasons are its own."""
    with pytest.raises(ScenarioError, match=r"^model is "):
        load_model(written)


@pytest.mark.parametrize("written", ["QWEN3.5-4B", "Qwen3.5-4B", "Qwen/Qwen3.5-4B"])
def test_a_name_is_known_as_people_write_it(directory: Path, written: str) -> None:
    """In whatever case, and by its name on the hub."""
    assert scenario(directory, written).model.name == "qwen3.5-4b"


# Memory.


def test_stages_hold_their_own_layers(directory: Path) -> None:
    """In order: the sum over stages of plain decoding's layers is the target; a mixture holds all its experts."""
    for name in ("tiny", "mixtral-8x7b", "mistral-7b"):
        held = device_bytes(scenario(directory, name, stages=4))
        model = scenario(directory, name).model
        context = {layer: layer.cached_tokens(1024) * layer.kv_bytes_per_token for layer in model.layers}
        each = [layer.weight_bytes + context[layer] for layer in model.layers]
        assert sum(held[1:]) == sum(each) + model.embedding_bytes + model.head_bytes
        assert target_bytes(scenario(directory, name, stages=1)) == sum(held[1:])


def test_uneven_kinds_make_uneven_stages(directory: Path) -> None:
    """One stage per layer: each holds that layer's weights and cache, or its states."""
    types = "[linear_attention, full_attention, linear_attention, full_attention]"
    model = f"{{base: qwen3.5-4b, num_layers: 4, full_attention_interval: null, layer_types: {types}}}"
    loaded = scenario(directory, model, stages=4, lag=1)
    delta, attention = loaded.model.layers[:2]
    stages = device_bytes(loaded)[1:]
    # Four tokens in the stages and one that waits for its verdict.
    assert stages[2] == delta.weight_bytes + 5 * delta.state_bytes
    assert stages[1] == attention.weight_bytes + 1024 * attention.kv_bytes_per_token
    assert target_bytes(loaded) == loaded.model.tables_bytes + 2 * (
        delta.weight_bytes + delta.state_bytes + attention.weight_bytes + 1024 * attention.kv_bytes_per_token
    )


def test_a_window_bounds_the_cache(directory: Path) -> None:
    """A context beyond it needs no more; one below it needs its own."""
    free = target_bytes(scenario(directory, "tiny"))
    kv_bytes = 8 * 2 * 2 * 16 * 2
    assert target_bytes(scenario(directory, "{base: tiny, sliding_window: 100}")) == free - (1024 - 100) * kv_bytes
    assert target_bytes(scenario(directory, "{base: tiny, sliding_window: 5000}")) == free
