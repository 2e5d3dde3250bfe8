"""Training the pipeline draft module: what a draft sees at every fill depth, for a whole sequence at once."""
