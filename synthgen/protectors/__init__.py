"""Protectors, the privacy boundary: one file each; see base.py."""
