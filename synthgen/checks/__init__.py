"""Checks of one output at a time: one file each; see base.py."""
