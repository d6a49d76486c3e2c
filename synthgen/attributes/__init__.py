"""Attributes by which bias is measured: how a person or an image is perceived, or what a column says."""
