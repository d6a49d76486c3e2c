"""The audit of a release: what is read, which attacks are run on it, and how they are reported."""
