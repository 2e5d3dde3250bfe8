"""The rules by which a draft is verified: pure functions on tensors, with no model, no transport and no schedule.

`sampling` says how to sample, `coins` gives keyed randomness, `warp` makes laws of logits, `rule` decides with the
whole vocabulary at hand, `shards` does the same where the LM head is spread over workers.

Shapes in names: V target vocabulary, Q draft vocabulary, R rows of a shard, C candidates (a subset of the vocabulary).
"""
