"""Which method, and how many stages: methods compared on the same devices, and the best cut searched for.

Knows nothing of printing.
"""
