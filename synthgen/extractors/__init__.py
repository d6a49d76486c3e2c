"""Control maps: one file each; see base.py."""
