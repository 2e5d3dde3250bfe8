"""The draft rank's part: the pipeline draft module (v11), its features and its weights, and drafts that are forced."""
