"""Training the pipeline draft module: what a draft sees at every fill depth, for a whole sequence at once.

Three parts, each read from its last file down:

- What is learned from: `texts` (the documents of a file), `chat` and `encoding` (their tokens), `corpus` (windows),
  `batches` (split and order), `material` (all of it, and the draft vocabulary).
- What learns: `layout` (which rows see which), `attention`, `student` (the module), `start` (its first weights),
  `teacher` (the frozen target), `loss`, `held_out` (how well it drafts).
- The run: `plan`, `steps` (what each step draws), `ranks` (several processes), `trainer` (one step), `home` (the
  directory, and the state in it), `outcome`, `run`.
"""
