"""Seeds of scores: from the commit that is scored, so that nobody has looked at them before."""

from __future__ import annotations

import hashlib
import subprocess


def commit_hash() -> str:
    """Return the hash of the commit that is checked out."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def seed_of(base: str, group: str, number: int) -> int:
    """Return the seed of a life: of a commit (or another word), its group and its number."""
    digest = hashlib.sha256(f"{base} {group} {number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 2_000_000_000 + 1
