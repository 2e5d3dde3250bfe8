"""Bytes that each device must hold: weights, KV cache, embedding, LM head, draft module.

Activations and the allocator's own needs are left out: they are small at batch size 1.
"""

from spdsim.scenario.model import Scenario
from spdsim.scenario.placement import anchors, layers_of_stages, layout_of, place


def context_tokens(scenario: Scenario) -> int:
    """Return the longest context of the workload, tokens."""
    return scenario.workload.prompt_tokens + scenario.workload.max_new_tokens


def kv_bytes_per_layer(scenario: Scenario) -> int:
    """Return the KV cache of one layer at the longest context, bytes."""
    return scenario.model.kv_bytes_per_token * context_tokens(scenario)


def projection_params(scenario: Scenario) -> tuple[int, ...]:
    """Return the weights of each of the draft module's projections: type i joins i + 1 anchors, (i + 1) H to H."""
    return tuple((index + 1) * scenario.model.hidden_size**2 for index in range(len(anchors(scenario))))


def draft_head_bytes(scenario: Scenario) -> int:
    """Return the draft module's own head, bytes."""
    model = scenario.model
    return (scenario.draft.draft_vocab_size or model.vocab_size) * model.hidden_size * model.dtype_bytes


def target_bytes(scenario: Scenario) -> int:
    """Return the whole target with its KV cache, bytes."""
    model = scenario.model
    tables = model.table_bytes * (1 if model.tied_embeddings else 2)
    return model.num_layers * (model.layer_bytes + kv_bytes_per_layer(scenario)) + tables


def device_bytes(scenario: Scenario) -> list[int]:
    """Return the bytes that each device must hold.

    What two workers of a device both need (the embedding; the LM head, if it is the embedding) is there once.
    """
    held: list[dict[str, int]] = [{} for _ in range(scenario.devices.count)]
    for worker in place(scenario):
        for what, num_bytes in _worker_bytes(scenario, worker.index).items():
            held[worker.device][what] = num_bytes
    return [sum(items.values()) for items in held]


def _worker_bytes(scenario: Scenario, worker: int) -> dict[str, int]:
    """What one worker holds, by name; things of the same name are the same on one device."""
    model, layout = scenario.model, layout_of(scenario)
    items: dict[str, int] = {}
    match layout.role(worker):
        case "draft":
            layers = scenario.draft.layers * (model.layer_bytes + kv_bytes_per_layer(scenario))
            projections = sum(projection_params(scenario)) * model.dtype_bytes
            items = {"draft": layers + projections + draft_head_bytes(scenario), "embedding": model.table_bytes}
        case "stage":
            stage = layout.stage_of(worker)
            layers = layers_of_stages(scenario)[stage] * (model.layer_bytes + kv_bytes_per_layer(scenario))
            items = {f"stage {stage}": layers} | ({"embedding": model.table_bytes} if stage == 0 else {})
    if layout.lm_head == "sharded" and layout.num_stages > 1:
        items[f"shard {worker}"] = model.table_bytes // layout.num_workers
    elif worker == layout.verdict_source:
        items["embedding" if model.tied_embeddings else "lm_head"] = model.table_bytes
    return items


def memory_needed(scenario: Scenario) -> int:
    """Return the bytes that all devices together must hold."""
    return sum(device_bytes(scenario))
