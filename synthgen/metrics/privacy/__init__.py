"""Attacks on privacy, measured: who could still be recognised, how many of how many, and with what bound."""
