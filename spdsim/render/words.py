"""The report's names in plain words."""

from collections.abc import Mapping

STEPS: Mapping[str, str] = {
    "rejections": "rejections",
    "tokens_per_cycle": "tokens per cycle",
    "forward": "target's forward",
    "lm_head_off_stages": "LM head off the stages",
    "imbalance": "uneven stages",
    "draft": "draft",
    "verify": "verify",
    "links": "links",
    "host": "host",
    "sharing": "shared devices",
}
"""The waterfall's steps."""

HINTS: Mapping[str, str] = {
    "rejections": "A draft module that is accepted more often would help most.",
    "tokens_per_cycle": "More drafts accepted in a cycle would help most.",
    "forward": "The target's own work takes longer than a token of plain decoding.",
    "lm_head_off_stages": "The LM head takes longer on the stages than in plain decoding: look at its time.",
    "imbalance": "Cut the layers so that all stages take the same time.",
    "draft": "The stages wait for the draft: make the draft module faster, or the stages fewer and longer.",
    "verify": "The stages wait for the verdict: shard the LM head, give it a device, or let verification lag.",
    "links": "The stages wait for messages: faster links, fewer hops or smaller features would help most.",
    "host": "The devices wait for the host: capture CUDA graphs, and do less between the stages.",
    "sharing": "Workers take turns on a device: give each its own, or use fewer stages.",
}
"""What would change a step that is a loss."""

HINTS_OF_ROUNDS: Mapping[str, str] = {
    "draft": "The target waits for the drafts: a faster drafter, or fewer drafts in a round.",
    "verify": "The LM head comes on top of every pass: shard it, or give it a device.",
    "links": "Drafts and verdicts wait for messages: faster links would help most.",
    "sharing": "Drafter and target take turns on a device: give each its own.",
}
"""The same for methods that are no pipeline of drafts, where it differs."""

CAUSES: Mapping[str, str] = {
    "pipeline_fill": "fill",
    "draft": "draft",
    "verdict": "verdict",
    "link": "link",
    "slower_stage": "slower\nstage",
    "host": "host",
    "shared_device": "shared\ndevice",
    "abandoned_tail": "tail",
}
"""Causes of idle time, as heads of columns."""
