"""Detectors of regions that may identify someone: one file each; see base.py."""
