"""The target model, cut into stages: rows and caches, decoder layers, weights, embedding and LM head.

Knows nothing of drafts, schedules or other workers.
"""
