"""What firmware says a machine is, without what its makers left blank; and which hypervisor that betrays."""

from __future__ import annotations

import msgspec

MAX_VALUE_CHARS = 100

_BLANK = frozenset(
    {
        "",
        "-",
        "0",
        "default string",
        "empty",
        "invalid",
        "n/a",
        "na",
        "none",
        "not applicable",
        "not available",
        "not specified",
        "o.e.m.",
        "oem",
        "product name",
        "system manufacturer",
        "system product name",
        "system version",
        "to be filled by o.e.m.",
        "to be filled by oem",
        "undefined",
        "unknown",
        "xxxxxxxx",
    }
)

_HYPERVISORS = (
    ("kvm", "kvm"),
    ("openstack", "kvm"),
    ("kubevirt", "kvm"),
    ("amazon ec2", "amazon"),
    ("google compute engine", "google"),
    ("qemu", "qemu"),
    ("vmware", "vmware"),
    ("virtualbox", "oracle"),
    ("innotek", "oracle"),
    ("xen", "xen"),
    ("bochs", "bochs"),
    ("parallels", "parallels"),
    ("bhyve", "bhyve"),
    ("hyper-v", "microsoft"),
    ("microsoft corporation virtual machine", "microsoft"),
    ("apple virtualization", "apple"),
)
"""In makers' and products' names. Source: systemd, src/basic/virt.c, `dmi_vendor_table`."""


class Firmware(msgspec.Struct, frozen=True):
    vendor: str = ""
    model: str = ""


def read_firmware(vendor: str, product: str, version: str) -> Firmware:
    """vendor, product, version: of the system, as its SMBIOS table has them.

    Lenovo writes the name that people know into the version and a part number into the product.
    """
    vendor, product, version = (filled(value) for value in (vendor, product, version))
    if vendor.upper() == "LENOVO" and any(char.isalpha() for char in version):
        return Firmware(vendor, f"{version} ({product})" if product else version)
    return Firmware(vendor, product)


def hypervisor_name(firmware: Firmware, *, by_processor: bool) -> str:
    """As systemd-detect-virt(1) names it. by_processor: the processor says that it is virtual.

    "unknown": there is one, and it has no name; "": no sign of any. Without the processor's word a maker's name is
    not enough where it also makes real machines (Amazon's, Xen's host).
    """
    named = f"{firmware.vendor} {firmware.model}".lower()
    name = next((name for sign, name in _HYPERVISORS if sign in named), "")
    if by_processor:
        return name or "unknown"
    return "" if name in ("amazon", "xen") else name


def filled(value: str) -> str:
    """`value` on one line, or "" for what a maker wrote instead of leaving it blank."""
    value = " ".join(value.replace("\0", " ").split())
    return "" if value.lower().rstrip(".") in _BLANK or value.lower() in _BLANK else value[:MAX_VALUE_CHARS]
