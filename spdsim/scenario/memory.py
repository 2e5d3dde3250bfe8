"""Bytes that each device must hold: weights, KV cache, recurrent states, embedding, LM head, draft module.

Activations and the allocator's own needs are left out: they are small with a few tokens at a time.
"""

from math import ceil

from spdsim.scenario.model import Scenario
from spdsim.scenario.placement import (
    anchors,
    devices_of,
    group_size,
    has_room,
    head_shards,
    layers_of_stages,
    layout_of,
    place,
)
from spdsim.schedules.spd import Layout
from spdsim.shapes.layers import Layer


def context_tokens(scenario: Scenario) -> int:
    """Return the longest context of the workload, tokens."""
    return scenario.workload.prompt_tokens + scenario.workload.max_new_tokens


def layer_bytes(scenario: Scenario, layer: Layer, num_states: int = 1) -> int:
    """Return what one layer holds at the longest context, bytes: weights, KV cache, recurrent states.

    Every sequence in flight has a cache and states of its own.
    """
    cache = layer.kv_bytes_per_token * layer.cached_tokens(context_tokens(scenario))
    return layer.weight_bytes + scenario.workload.concurrency * (cache + num_states * layer.state_bytes)


def states_kept(layout: Layout) -> int:
    """Return how many recurrent states a layer keeps: one for each token in flight, for a rollback to go back to."""
    return layout.num_stages + layout.verification_lag if layout.num_stages > 1 else 1


def layers_of_stage(scenario: Scenario, stage: int) -> tuple[Layer, ...]:
    """Return the decoder layers of one stage."""
    counts = layers_of_stages(scenario)
    first = sum(counts[:stage])
    return scenario.model.layers[first : first + counts[stage]]


def projection_params(scenario: Scenario) -> tuple[int, ...]:
    """Return the weights of each of the draft module's projections: type i joins i + 1 anchors, (i + 1) H to H."""
    return tuple((index + 1) * scenario.model.hidden_size**2 for index in range(len(anchors(scenario))))


def draft_head_bytes(scenario: Scenario) -> int:
    """Return the draft module's own head, bytes."""
    model = scenario.model
    return (scenario.draft.draft_vocab_size or model.vocab_size) * model.hidden_size * model.dtype_bytes


def target_bytes(scenario: Scenario) -> int:
    """Return the whole target with its KV cache, as plain decoding needs it, bytes."""
    return sum(layer_bytes(scenario, layer) for layer in scenario.model.layers) + scenario.model.tables_bytes


def device_bytes(scenario: Scenario) -> list[int]:
    """Return the bytes that each device must hold.

    What two workers of a device both need (the embedding; the LM head, if it is the embedding) is there once.
    Each device of a group holds an equal shard of its stage and of its LM head, but the whole embedding: it is looked
    up without a meeting.
    """
    held: list[dict[str, int]] = [{} for _ in range(scenario.devices.count)]
    layout = layout_of(scenario)
    for worker in place(scenario):
        for what, num_bytes in _worker_bytes(scenario, layout, worker.index).items():
            for device in devices_of(scenario, worker):
                # Where a device has a table whole and a shard of it, the shard is a part of the whole.
                held[device][what] = max(num_bytes, held[device].get(what, 0))
    return [sum(items.values()) for items in held]


def fits(scenario: Scenario) -> bool:
    """Whether the workers have devices, and each can hold what it must; where the memory is not known, it can."""
    if not has_room(scenario):
        return False
    return scenario.devices.gpu.memory_bytes is None or max(device_bytes(scenario)) <= scenario.devices.gpu.memory_bytes


def stages_that_fit(scenario: Scenario) -> int | None:
    """Return the least number of stages, more than now, at which every device can hold what it must."""
    # Beyond one stage for each device, more of them only share devices.
    most = min(scenario.model.num_layers, scenario.devices.count)
    return next((n for n in range(scenario.partition.stages + 1, most + 1) if fits(_recut(scenario, n))), None)


def devices_that_fit(scenario: Scenario) -> int | None:
    """Return the least number of devices, more than now, on which the model fits with a stage on each (or group)."""
    size = group_size(scenario)
    for count in range(scenario.devices.count + 1, scenario.model.num_layers * size + 3):
        devices = scenario.devices.model_copy(update={"count": count, "per_node": None, "workers": None})
        stages = min(scenario.model.num_layers, max(scenario.partition.stages, (count - 1) // size))
        if fits(_recut(scenario.model_copy(update={"devices": devices}), stages)):
            return count
    return None


def show_bytes(num_bytes: float) -> str:
    """Return bytes as people read them, in decimal units."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"


def _recut(scenario: Scenario, stages: int) -> Scenario:
    partition = scenario.partition.model_copy(update={"stages": stages, "layers": "even"})
    return scenario.model_copy(update={"partition": partition})


def _worker_bytes(scenario: Scenario, layout: Layout, worker: int) -> dict[str, int]:
    """What each device of a worker holds, by name; things of the same name are the same on one device."""
    model, items = scenario.model, dict[str, int]()
    shards = group_size(scenario) if layout.role(worker) == "stage" else 1
    match layout.role(worker):
        case "draft":
            items = {"draft": draft_bytes(scenario), "embedding": model.embedding_bytes}
        case "stage":
            stage, num_states = layout.stage_of(worker), states_kept(layout)
            held = (layer_bytes(scenario, layer, num_states) for layer in layers_of_stage(scenario, stage))
            items = {f"stage {stage}": ceil(sum(held) / shards)}
            if stage == 0:
                items["embedding"] = model.embedding_bytes
    if layout.lm_head == "sharded" and layout.num_stages > 1:
        items[f"shard {worker}"] = model.head_bytes // head_shards(scenario, layout)
    elif worker == layout.verdict_source:
        table = "embedding" if model.tied_embeddings else "lm_head"
        items[table] = max(items.get(table, 0), ceil(model.head_bytes / shards))
    return items


def draft_bytes(scenario: Scenario) -> int:
    """Return what the draft module holds, bytes: its layers with their cache, its projections, its head."""
    model, draft = scenario.model, scenario.draft
    projections = sum(projection_params(scenario)) * model.dtype_bytes
    return draft.layers * layer_bytes(scenario, model.draft_layer) + projections + draft_head_bytes(scenario)
