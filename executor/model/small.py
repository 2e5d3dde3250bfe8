"""A small model that needs no download: a Llama over bytes with random weights, as a directory that loaders read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from executor.model.architecture import Architecture, read_architecture
from executor.model.layers import make_layer
from executor.model.weights import RandomWeights
from spdsim.errors import InputError
from spdsim.files import atomic_writer

NUM_BYTES = 256
END_TOKEN = 256
"""The id after those of the 256 bytes."""


def small_config(
    hidden_size: int = 256,
    num_layers: int = 8,
    num_heads: int = 4,
    num_kv_heads: int = 2,
    vocab_size: int = NUM_BYTES + 2,
    dtype: str = "float32",
) -> dict[str, Any]:
    """Return the config.json of a small Llama: ids 0 to 255 are bytes, 256 ends a text, 257 begins it."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden_size,
        "intermediate_size": 8 * hidden_size // 3 // 16 * 16,
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_kv_heads,
        "head_dim": hidden_size // num_heads,
        "vocab_size": vocab_size,
        "max_position_embeddings": 32_768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": END_TOKEN + 1,
        "eos_token_id": END_TOKEN,
        "dtype": dtype,
    }


def write_model(directory: Path, config: Mapping[str, Any], seed: int) -> None:
    """Write config.json and model.safetensors, with the weights that `RandomWeights(seed)` draws on the CPU.

    Raises InputError if the config is not one that the executor computes, or nothing can be written there.
    """
    architecture = read_architecture(config)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{directory}: cannot be made: {error.strerror}") from None
    with atomic_writer(directory / "config.json") as file:
        file.write(json.dumps(config, indent=2) + "\n")
    weights, tensors = RandomWeights(seed), tensor_shapes(architecture)
    for name, tensor in tensors.items():
        tensors[name] = torch.empty_like(tensor, device="cpu")
        weights.fill(name, tensors[name])
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def tensor_shapes(architecture: Architecture) -> dict[str, Tensor]:
    """Return every tensor of a checkpoint by name, without memory (on the device "meta")."""
    table = torch.empty(architecture.vocab_size, architecture.hidden_size, dtype=architecture.dtype, device="meta")
    tensors = {"model.embed_tokens.weight": table, "model.norm.weight": table[0]}
    if not architecture.tied_embeddings:
        tensors["lm_head.weight"] = table
    for index, shape in enumerate(architecture.layers):
        layer = make_layer(shape, architecture.dtype, "meta")
        tensors |= {f"model.layers.{index}.{name}": value.data for name, value in layer.named_parameters()}
    return tensors
