"""Dataset formats: one file each; see base.py."""
