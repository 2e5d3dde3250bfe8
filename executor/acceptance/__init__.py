"""Acceptance of a draft module's own drafts: measured in runs of the executor, or looked up in whole texts."""
