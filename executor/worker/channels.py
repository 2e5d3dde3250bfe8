"""Which tensors every message holds. One format for each edge, decided before the first cycle.

Knows nothing of how messages travel.
"""

import torch

from executor.draft.cut import Cut
from executor.plan import DType, Plan
from executor.transport.edges import HOST_PAYLOADS
from executor.transport.message import Channel, Field
from executor.verify.shards import partial_fields, shard_rows
from spdsim.schedules.ops import Payload
from spdsim.schedules.spd import Layout

DTYPES: dict[DType, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_ACCEPTED_AND_TOKEN = Field("verdict", torch.int64, (2,))
_ACCEPTED_TOKEN_AND_NODE = Field("verdict", torch.int64, (3,))
_TOKEN = Field("token", torch.int64, (1,))
_NOTHING = Field("nothing", torch.uint8, (1,))


def channel_of(
    plan: Plan, payload: Payload, source: int, to: int, prompt_tokens: int | None = None, *, is_plain: bool = False
) -> Channel:
    """Return the channel of one edge; with `prompt_tokens`, that of the prefill, where it is another.

    is_plain: in plain decoding, which has no tree.
    """
    layout = plan.layout
    is_tree = layout.width > 1 and not is_plain
    is_host = payload in HOST_PAYLOADS
    is_prefill = prompt_tokens is not None and payload in ("hidden", "features")
    tokens = prompt_tokens if prompt_tokens is not None and is_prefill else 1
    if is_tree and not is_prefill and payload in ("hidden", "features"):
        tokens = layout.rows_of_stage(layout.stage_of(source))
    fields = _fields(plan, payload, source, to, tokens)
    if is_tree and not is_prefill:
        fields = _of_tree(layout, fields, payload, source, to)
    return Channel(payload, source, to, fields or (_NOTHING,), is_host, is_prefill)


def _fields(plan: Plan, payload: Payload, source: int, to: int, tokens: int) -> tuple[Field, ...]:
    match payload:
        case "hidden" if source == plan.layout.num_stages:
            # What leaves the last stage is only verified: of a prompt, its last token is enough.
            carries = to == 0 and plan.layout.last_hidden_carries_features
            return (_hidden(plan, 1), *(_features(plan, source, tokens) if carries else ()))
        case "hidden":
            return (_hidden(plan, tokens),)
        case "features":
            return _features(plan, source, tokens)
        case "draft":
            return (_TOKEN, *_law(plan, to))
        case "verdict":
            is_drafted = source == 0 and to == plan.layout.worker_of_stage(0)
            return (_ACCEPTED_AND_TOKEN, *((_TOKEN, *_law(plan, to)) if is_drafted else ()))
        case "partial":
            first, last = shard_rows(plan.scenario.model.vocab_size, plan.layout.num_workers, source)
            fields = partial_fields(plan.sampling, plan.rule, last - first)
            return tuple(Field(*field) for field in fields)


def _of_tree(
    layout: Layout, fields: tuple[Field, ...], payload: Payload, source: int, to: int
) -> tuple[Field, ...]:  # fmt: skip
    """The fields of a message where drafts are levels of a tree.

    A verdict says which node is right, and a level says whose child each node is: to who drafts it with its tokens, to
    the stages behind with its hidden states. The last stage runs the right node only.
    """
    level = Field("level", torch.int64, (2, layout.width))
    match payload:
        case "draft":
            return (level,)
        case "verdict":
            return (_ACCEPTED_TOKEN_AND_NODE, *((level,) if len(fields) > 1 else ()))
        case "hidden" if source < layout.num_stages and to < layout.num_stages:
            return (*fields, Field("parents", torch.int64, (layout.width,)))
        case _:
            return fields


def _hidden(plan: Plan, tokens: int) -> Field:
    return Field("hidden", DTYPES[plan.dtype], (tokens, plan.scenario.model.hidden_size))


def _features(plan: Plan, source: int, tokens: int) -> tuple[Field, ...]:
    anchors = len(Cut(plan.layers, plan.draft.anchors).anchors_of_stage(plan.layout.stage_of(source)))
    shape = (tokens, anchors, plan.scenario.model.hidden_size)
    return (Field("features", DTYPES[plan.dtype], shape),) if anchors else ()


def _law(plan: Plan, to: int) -> tuple[Field, ...]:
    """The draft's distribution, for whoever verifies alone elsewhere. A shard needs none: who combines has drafted."""
    layout = plan.layout
    if not plan.uses_rejection or to != layout.verdict_source:
        return ()
    return (Field("law", torch.float32, (plan.draft.vocab_size or plan.scenario.model.vocab_size,)),)
