"""Networks that tell whose face or body is in a box: one file each; see base.py."""
