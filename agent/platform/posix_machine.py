"""What tells this machine from every other, and from a copy of it, without telling anybody what its ids are."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from pathlib import Path

APPLICATION = uuid.UUID("8f4a1c0d-5b6e-4f7a-9c3d-2e1f0a9b8c7d")
"""Ours alone: the hashes of another application cannot be compared with these."""

MACHINE_ID_FILES = ("etc/machine-id", "var/lib/dbus/machine-id")
PRODUCT_UUID = "sys/class/dmi/id/product_uuid"
CONTAINER_SIGNS = ("run/systemd/container", "run/.containerenv", ".dockerenv")
"""In a container the firmware is the host's, which changes when the container moves. As in facts/sources/machine.py."""

ROOT = Path("/")


def machine_id(root: Path = ROOT) -> str:
    """A hash of the installation's id; "" where it has none.

    machine-id(5) asks that the id itself be shown to nobody. This is what `systemd-id128 machine-id -a APPLICATION`
    prints, sd_id128_get_machine_app_specific(3).
    """
    for name in MACHINE_ID_FILES:
        if secret := _read_uuid(root / name):
            return _of_application(secret)
    return ""


def hardware_id(root: Path = ROOT) -> str:
    """A hash of the (virtual) machine's id in its firmware, which a hypervisor makes anew for a clone.

    "" where there is none, in containers, and for who is not root: only root may read it.
    """
    if any((root / sign).exists() for sign in CONTAINER_SIGNS):
        return ""
    secret = _read_uuid(root / PRODUCT_UUID)
    return _of_application(secret) if secret else ""


def _read_uuid(path: Path) -> bytes | None:
    """16 bytes; None for no file, "uninitialized" (machine-id(5), first boot), zeros, or anything else."""
    try:
        with open(path, "rb") as file:
            secret = uuid.UUID(file.read(64).decode("ascii").strip()).bytes
    except (OSError, ValueError):
        return None
    return secret if any(secret) else None


def _of_application(secret: bytes) -> str:
    digest = bytearray(hmac.digest(secret, APPLICATION.bytes, hashlib.sha256)[:16])
    digest[6] = (digest[6] & 0x0F) | 0x40  # as a UUID of version 4 has it
    digest[8] = (digest[8] & 0x3F) | 0x80
    return digest.hex()
