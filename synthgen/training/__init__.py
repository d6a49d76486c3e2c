"""Training and adapting the weights that a run uses (accelerate).

One YAML is one training; `kind:` names the task. `run.train` reads it, `loop.fit` drives every task the same way, and a
task (`autoencoder`, `segmenter`, `starter`, `controlnet`) says what a batch is, what its loss is and what it writes.
"""
