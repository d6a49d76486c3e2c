"""Seeds that belong to a sample, never to a batch, a rank or an order of work.

`HMAC-SHA256(key = run seed, message = sample | variant | attempt | purpose)`, cut to 63 bits: two samples, variants,
attempts or purposes never share a stream, and adding one changes no other.
"""

from __future__ import annotations

import hashlib
import hmac


def derive_seed(run_seed: int, sample_id: str, variant: int, attempt: int, purpose: str = "noise") -> int:
    """A seed in [0, 2**63) for one draw.

    Args:
        run_seed: the config's `seed`.
        purpose: what is drawn; the initial noise, or the name of a factor.
    """
    message = "\x1f".join((sample_id, str(variant), str(attempt), purpose)).encode()
    digest = hmac.new(str(run_seed).encode(), message, hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big") >> 1
