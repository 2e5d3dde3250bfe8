"""The rules of a model's shape that more than one key decides."""

from collections.abc import Iterator

from spdsim.scenario.problems import Problem
from spdsim.scenario.source import show
from spdsim.scenario.target import TargetModel

_LINEAR = ("linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim")
_MOE = ("num_experts", "experts_per_token", "moe_intermediate_size")


def model_problems(model: TargetModel) -> Iterator[Problem]:
    """Yield what is wrong with a shape."""
    if model.num_heads % model.num_kv_heads:
        yield _problem("num_kv_heads", f"is {model.num_kv_heads}", f"must divide num_heads, {model.num_heads}")
    if model.weight_group_size is not None and model.weight_bits is None:
        yield _problem("weight_bits", "is missing", "must be given with weight_group_size")
    yield from _types(model)
    if "linear_attention" in model.types:
        yield from _linear(model)
    yield from _experts(model)


def _types(model: TargetModel) -> Iterator[Problem]:
    types = model.layer_types
    if types is None:
        return
    if model.full_attention_interval is not None:
        yield _problem("layer_types", "is given beside full_attention_interval", "must be one of the two")
    if len(types) != model.num_layers:
        rule = f"must have {model.num_layers} entries, one for each of num_layers"
        yield _problem("layer_types", f"has {len(types)} {'entry' if len(types) == 1 else 'entries'}", rule)
    if "sliding_attention" in types and model.sliding_window is None:
        yield _problem("sliding_window", "is missing", "must be given for layers of type sliding_attention")


def _linear(model: TargetModel) -> Iterator[Problem]:
    for key in _LINEAR:
        if getattr(model, key) is None:
            yield _problem(key, "is missing", "must be given for layers of type linear_attention")
    keys, values = model.linear_num_key_heads, model.linear_num_value_heads
    if keys is not None and values is not None and values % keys:
        yield _problem("linear_num_value_heads", f"is {values}", f"must be a multiple of linear_num_key_heads, {keys}")


def _experts(model: TargetModel) -> Iterator[Problem]:
    given = [key for key in _MOE if getattr(model, key) is not None]
    for key in _MOE:
        if given and key not in given:
            yield _problem(key, "is missing", f"must be given with {given[0]}")
    count, used = model.num_experts, model.experts_per_token
    if count is not None and used is not None and used > count:
        yield _problem("experts_per_token", f"is {used}", f"must be at most num_experts, {count}")
    if model.dense_layers and max(model.dense_layers) >= model.num_layers:
        rule = f"must be layers from 0 to {model.num_layers - 1}"
        yield _problem("dense_layers", f"is {show(model.dense_layers)}", rule)


def _problem(key: str, state: str, rule: str) -> Problem:
    return Problem(("model", key), state, rule)
