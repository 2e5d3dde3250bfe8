"""Rows, caches and layers: any way of running tokens in order gives the same; configs are read or refused by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoConfig

from executor.model.architecture import FAMILIES, read_architecture
from executor.model.dense import DenseLayer, DenseShape
from executor.model.rotary import LinearScaling, Llama3Scaling, Rotary
from executor.model.rows import RowTable
from executor.model.small import small_config
from executor.model.steps import bucket, buckets
from executor.model.weights import RandomWeights, load
from spdsim.errors import InputError, RunError

torch.set_num_threads(1)

MAX_ROWS, HIDDEN = 40, 24
TABLE = RowTable(Rotary(6, 100.0), MAX_ROWS, torch.float32, "cpu")


def layer(window: int | None, num_kv_heads: int = 2) -> DenseLayer:
    shape = DenseShape(
        HIDDEN, 32, 4, num_kv_heads, 8, qk_norm=True, attention_bias=True, rms_eps=1e-6, window=window, output_bias=True
    )
    made = DenseLayer(shape, torch.float32, "cpu")
    load(made, RandomWeights(5), "layer.")
    return made


def hidden(count: int) -> Tensor:
    return torch.randn(count, HIDDEN, generator=torch.Generator().manual_seed(7))


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=8).filter(lambda counts: sum(counts) <= MAX_ROWS),
    st.sampled_from([None, 1, 3, 8]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_split_of_the_rows_gives_the_same_hidden_states(
    counts: list[int], window: int | None, is_static: bool
) -> None:
    """All rows at once, or some after others: exact views and fixed ones read the same rows, windows or not."""
    made = layer(window)
    inputs = hidden(sum(counts))
    with torch.inference_mode():
        whole = made(inputs, TABLE.rows(0, len(inputs)), made.new_cache(MAX_ROWS))
        cache, start = made.new_cache(MAX_ROWS), 0
        for count in counts:
            positions = torch.arange(start, start + count)
            rows = TABLE.static(positions, MAX_ROWS) if is_static else TABLE.rows(start, count)
            found = made(inputs[start : start + count], rows, cache)
            torch.testing.assert_close(found, whole[start : start + count], rtol=1e-4, atol=1e-4)
            start += count


@given(st.integers(0, MAX_ROWS - 1), st.integers(1, MAX_ROWS), st.integers(0, MAX_ROWS))
def test_fixed_rows_are_the_exact_ones(start: int, count: int, more: int) -> None:
    """The same positions, the same rotations, and a mask that shows what the exact ones see."""
    count, num_visible = min(count, MAX_ROWS - start), min(start + count + more, MAX_ROWS)
    exact, fixed = TABLE.rows(start, count), TABLE.static(torch.arange(start, start + count), num_visible)
    assert torch.equal(exact.positions_T, fixed.positions_T) and exact.num_visible == start + count
    assert torch.equal(exact.cos_TD, fixed.cos_TD) and torch.equal(exact.sin_TD, fixed.sin_TD)
    assert fixed.mask_TS is not None
    sees = torch.arange(num_visible) <= torch.arange(start, start + count)[:, None]
    assert torch.equal(fixed.mask_TS, sees)
    if exact.mask_TS is None:
        assert count == 1 or start == 0
    else:
        assert torch.equal(exact.mask_TS, sees[:, : start + count])


def test_rows_beyond_the_table_are_refused() -> None:
    """A slice would be cut short in silence."""
    with pytest.raises(RunError, match="row 40 is asked for: the sequence may have at most 40 rows"):
        TABLE.rows(39, 2)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_buckets_hold_the_rows_and_are_few(num_rows: int, max_rows: int) -> None:
    """Never too small, never beyond the cache, and one for each power of two."""
    num_rows = min(num_rows, max_rows)
    found = bucket(num_rows, max_rows)
    assert num_rows <= found <= max_rows
    assert found == max_rows or (found.bit_count() == 1 and (found == 256 or found < 2 * num_rows))
    assert found in buckets(max_rows) and len(buckets(max_rows)) <= 6


@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
def test_names_and_computation_share_one_memory(num_kv_heads: int) -> None:
    """What is loaded by name is what is computed with, and is held once."""
    made = layer(None, num_kv_heads)
    named = {parameter.untyped_storage().data_ptr() for parameter in made.parameters()}
    computed = [made.self_attn.qkv, made.self_attn.output, made.mlp.gate_up, made.mlp.down]
    assert {tensor.untyped_storage().data_ptr() for tensor in computed} <= named
    assert sum(tensor.numel() for tensor in computed) == sum(p.numel() for p in made.parameters() if p.dim() == 2)


def llama(**changes: Any) -> dict[str, Any]:
    return small_config(hidden_size=64, num_layers=2) | changes


LLAMA3 = {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}


@pytest.mark.parametrize(
    ("changes", "rotary"),
    [
        ({}, Rotary(16, 10_000.0)),
        ({"rope_theta": 5e5}, Rotary(16, 5e5)),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}}, Rotary(16, 7.0)),
        ({"rope_theta": None, "rope_parameters": None}, Rotary(16, 10_000.0)),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, Rotary(16, 10_000.0, LinearScaling(2.0))),
        ({"rope_scaling": LLAMA3, "max_position_embeddings": 512}, Rotary(16, 1e4, Llama3Scaling(8.0, 1.0, 4.0, 512))),
        (
            {"rope_parameters": {**LLAMA3, "original_max_position_embeddings": 64, "rope_theta": 3}},
            Rotary(16, 3.0, Llama3Scaling(8.0, 1.0, 4.0, 64)),
        ),
        ({"head_dim": 8}, Rotary(8, 10_000.0)),
        ({"head_dim": None, "partial_rotary_factor": 0.5}, Rotary(8, 10_000.0)),
    ],
)
def test_the_rotary_embedding_is_read_in_every_form(changes: dict[str, Any], rotary: Rotary) -> None:
    """`rope_theta` and `rope_scaling`, or `rope_parameters`, with what transformers assume where nothing is said."""
    assert read_architecture(llama(**changes)).rotary == rotary


@pytest.mark.parametrize(("written", "ends"), [(7, {7}), ([7, 9], {7, 9}), (None, set())])
def test_end_tokens_may_be_one_or_several(written: Any, ends: set[int]) -> None:
    """An id, a list of ids, or nothing."""
    assert read_architecture(llama(eos_token_id=written)).end_tokens == ends


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_the_dtype_is_read_under_both_its_names(key: str) -> None:
    """With or without torch's name before it; 16 bits where nothing is said."""
    config = llama()
    del config["dtype"]
    assert read_architecture(config).dtype is torch.bfloat16
    assert read_architecture(config | {key: "torch.float16"}).dtype is torch.float16
    assert read_architecture(config | {key: "float32"}).dtype is torch.float32


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "qwen3_5"])
def test_defaults_of_a_family_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    """A file with the sizes alone means what the class of transformers makes of it."""
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 8, "num_attention_heads": 8}
    said: dict[str, Any] = {"model_type": family, **sizes, "num_key_value_heads": 4, "vocab_size": 50}
    config = AutoConfig.for_model(**said)
    config.save_pretrained(tmp_path)
    read, assumed = read_architecture(tmp_path), read_architecture(said)
    assert read.layers == assumed.layers and read.rotary == assumed.rotary and read.rms_eps == assumed.rms_eps


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mixtral"}, 'model_type is "mixtral": must be one of llama, qwen2, qwen3, mistral'),
        ({"model_type": None}, "model_type is missing"),
        ({"hidden_act": "gelu"}, 'hidden_act is "gelu": must be one of silu'),
        ({"mlp_bias": True}, "mlp_bias is true: must be false"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}, "must be absent"),
        ({"hidden_size": 0}, "hidden_size is 0: must be at least 1"),
        ({"rms_norm_eps": "small"}, 'rms_norm_eps is "small": must be a number'),
        ({"rms_norm_eps": -1}, "rms_norm_eps is -1: must be positive"),
        (
            {"rope_scaling": {"rope_type": "yarn", "factor": 4}},
            'rope_scaling.rope_type is "yarn": must be one of default',
        ),
        ({"rope_scaling": {"type": "dynamic", "factor": 4}}, 'rope_scaling.type is "dynamic": must be one of default'),
        ({"rope_scaling": {"rope_type": "linear"}}, "rope_scaling.factor is missing"),
        ({"rope_parameters": {**LLAMA3, "high_freq_factor": 1}}, "rope_parameters.high_freq_factor is 1: must be more"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, "rope_parameters.full_attention is"),
        ({"head_dim": 7}, "head_dim is 7: must have an even number of rotated entries, not 7"),
        ({"eos_token_id": "</s>"}, 'eos_token_id is "</s>": must be a token id or a list'),
        ({"dtype": "int8"}, 'dtype is "int8": must be one of float32'),
    ],
)
def test_what_is_not_computed_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    """One line: the key, its value, and what it must be."""
    with pytest.raises(InputError, match=message) as refusal:
        read_architecture(llama(**changes))
    assert "\n" not in str(refusal.value)


def test_a_directory_names_its_file(tmp_path: Path) -> None:
    """A missing file, one that is not JSON, and one with a wrong value."""
    file = tmp_path / "config.json"
    with pytest.raises(InputError, match=f"{file}: there is no such file"):
        read_architecture(tmp_path)
    for text, message in (("{", "is not JSON"), ("[]", "must be a mapping"), ("{}", "model_type is missing")):
        file.write_text(text)
        with pytest.raises(InputError, match=f"{file}: {message}"):
            read_architecture(tmp_path)
