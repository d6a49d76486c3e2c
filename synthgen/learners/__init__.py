"""Networks that are trained on a dataset to tell what it is worth: one file a kind."""
