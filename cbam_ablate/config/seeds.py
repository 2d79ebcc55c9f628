"""Independent streams of random numbers from one seed."""

import hashlib


def derive_seed(seed: int, *names: object) -> int:
    """A seed of 63 bits for the stream that `names` call, unrelated to those of other names or seeds."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
