"""Generators: one file each; see base.py."""
