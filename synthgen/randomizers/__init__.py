"""Randomizers: what an output is put through after generation and before the checks; see base.py."""
