"""Hybrid models: recurrent states by position, so that rejections leave no trace, and prompts in chunks or in steps."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoConfig
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5ForConditionalGeneration

from executor.model.architecture import read_architecture
from executor.model.delta import DeltaShape, GatedDelta
from executor.model.hybrid import HybridShape
from executor.model.rotary import Rotary
from executor.model.rows import RowTable
from executor.model.stage import StageModel
from executor.model.weights import Checkpoint, RandomWeights, load
from spdsim.errors import InputError, RunError

torch.set_num_threads(1)

SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 61, "linear_num_key_heads": 2,
    "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 6, "linear_conv_kernel_dim": 4,
}  # fmt: skip
CONFIG = {"model_type": "qwen3_5_text", "dtype": "float32", **SIZES}
PROMPT = torch.tensor([3, 1, 4, 1, 5])


def stage(num_states: int) -> StageModel:
    architecture = read_architecture(CONFIG)
    return StageModel(architecture, RandomWeights(2), 0, 4, (2,), True, 64, num_states, "cpu", torch.float32)


def token(position: int, attempt: int) -> Tensor:
    return torch.tensor([(7 * position + 31 * attempt) % 61])


STAGES = {num_states: stage(num_states) for num_states in (1, 2, 3, 5)}


@given(st.sampled_from([2, 3, 5]), st.data())
@settings(max_examples=50, deadline=None)
def test_rejections_leave_no_trace(num_states: int, data: st.DataObject) -> None:
    """Whatever was run and rejected, up to num_states - 1 positions back, decoding goes on as if it had not been."""
    speculative, plain = STAGES[num_states], STAGES[1]
    speculative.prefill(PROMPT)
    position, newest, outputs, tokens = 5, 4, {}, {}
    for attempt in range(data.draw(st.integers(1, 14), "tokens run")):
        oldest = max(5, newest + 2 - num_states)
        position = data.draw(st.integers(oldest, position), "position")
        tokens[position] = token(position, attempt)
        outputs[position] = speculative.forward(tokens[position], position)
        newest, position = max(newest, position), position + 1
    plain.prefill(PROMPT)
    for kept in range(5, position):
        expected = plain.forward(tokens[kept], kept)
        assert torch.equal(outputs[kept].hidden_TH, expected.hidden_TH)
        assert torch.equal(outputs[kept].features_TAH, expected.features_TAH)


@pytest.mark.parametrize("num_states", [1, 2, 5])
def test_a_state_that_is_gone_is_refused(num_states: int) -> None:
    """Further back than the ring reaches, and before the prompt's end, where no state was ever kept."""
    found = stage(num_states)
    found.prefill(PROMPT)
    with pytest.raises(RunError, match="position 4 is run: must be 5 to 5"):
        found.forward(token(4, 0), 4)
    for position in range(5, 15):
        found.forward(token(position, 0), position)
    oldest = 16 - num_states
    with pytest.raises(RunError, match=f"position {oldest - 1} is run: must be {oldest} to 15"):
        found.forward(token(0, 0), oldest - 1)
    found.forward(token(oldest, 0), oldest)


@pytest.mark.parametrize("num_tokens", [2, 3, 63, 64, 65, 200])
def test_a_prompt_in_chunks_is_a_prompt_in_steps(num_tokens: int) -> None:
    """The outputs and the state that is left agree closely, with slow and with fast decays."""
    shape = DeltaShape(24, 2, 4, 8, 6, 4, 1e-6)
    mixer = GatedDelta(shape, torch.float32, "cpu")
    load(mixer, RandomWeights(4), "mixer.")
    mixer.rate_H = -torch.tensor([0.001, 0.1, 3.0, 200.0])
    inputs = torch.randn(num_tokens, 24, generator=torch.Generator().manual_seed(0))
    table, zeros = RowTable(Rotary(8, 1e4), 256, torch.float32, "cpu"), torch.zeros(num_tokens, 24)
    with torch.inference_mode():
        at_once, in_steps = mixer.new_states(2), mixer.new_states(2)
        whole = mixer.forward(inputs, zeros, table.rows(0, num_tokens), at_once)
        steps = [
            mixer.forward(inputs[i : i + 1], zeros[:1], table.rows(i, 1), in_steps) for i in range(num_tokens)
        ]  # fmt: skip
    torch.testing.assert_close(torch.cat(steps), whole, rtol=1e-4, atol=1e-4)
    slot = (num_tokens - 1) % 2
    torch.testing.assert_close(in_steps.states_NHKV[slot], at_once.states_NHKV[slot], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(in_steps.inputs_NWC[slot], at_once.inputs_NWC[slot], rtol=1e-4, atol=1e-4)


def test_the_language_model_inside_a_multimodal_one_is_read(tmp_path: Path) -> None:
    """Its keys are under text_config and its tensors under language_model; what it computes is the same."""
    torch.manual_seed(0)
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32}
    config: Any = AutoConfig.for_model("qwen3_5", text_config=CONFIG, vision_config=vision, eos_token_id=9)
    model: Any = Qwen3_5ForConditionalGeneration(config)
    model.eval()
    model.save_pretrained(tmp_path)
    architecture = read_architecture(tmp_path)
    assert architecture.layers == read_architecture(CONFIG).layers and architecture.end_tokens == {9}
    found = StageModel(architecture, Checkpoint(tmp_path), 0, 4, (), True, 16, 1, "cpu", torch.float32)
    with torch.inference_mode():
        expected = model.model.language_model(PROMPT[None], output_hidden_states=True)
        normed = model.model.language_model.norm(found.prefill(PROMPT).hidden_TH)
    torch.testing.assert_close(normed, expected.last_hidden_state[0], rtol=1e-4, atol=1e-4)


def test_which_layers_attend_is_read_in_both_forms() -> None:
    """Every fourth, every so many, or as the file lists them."""

    def attending(**changes: Any) -> list[int]:
        layers = read_architecture(CONFIG | {"num_hidden_layers": 8} | changes).layers
        return [index for index, layer in enumerate(layers) if isinstance(layer, HybridShape) and layer.delta is None]

    assert attending() == [3, 7]
    assert attending(full_attention_interval=3) == [2, 5]
    assert attending(layer_types=["full_attention"] + 7 * ["linear_attention"]) == [0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attn_output_gate": False}, "attn_output_gate is false: must be true"),
        ({"linear_conv_kernel_dim": 1}, "linear_conv_kernel_dim is 1: must be at least 2"),
        ({"linear_num_value_heads": 5}, "linear_num_value_heads is 5: must be a multiple"),
        ({"model_type": "qwen3_next"}, 'model_type is "qwen3_next": must be one of'),
    ],
)
def test_other_hybrids_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    """One line: the key, its value, and what it must be."""
    with pytest.raises(InputError, match=message):
        read_architecture(CONFIG | changes)
