"""synthgen: a real image dataset in, a replacement dataset with new identities and true labels out."""

__version__ = "0.1.0"
