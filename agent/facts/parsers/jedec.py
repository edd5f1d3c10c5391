"""Who made a memory module, where its firmware copied the number instead of the name.

Source: JEDEC JEP106. A maker's id is one byte with odd parity; when all 126 were taken a second bank began, marked by
a byte 0x7f before the id, and so on. Modules from DDR3 on count those bytes instead. Firmware prints either in
hexadecimal, with or without 0x, blanks and zeros behind.
"""

from __future__ import annotations

import re

CONTINUATION = 0x7F
MAX_BANKS = 16

MAKERS = {
    (1, 0x04): "Fujitsu",
    (1, 0x07): "Hitachi",
    (1, 0x09): "Intel",
    (1, 0x10): "NEC",
    (1, 0x17): "Texas Instruments",
    (1, 0x18): "Kioxia",
    (1, 0x1C): "Mitsubishi",
    (1, 0x24): "IBM",
    (1, 0x2C): "Micron",
    (1, 0x2D): "SK Hynix",
    (1, 0x40): "ProMOS",
    (1, 0x41): "Infineon",
    (1, 0x48): "Apple",
    (1, 0x4E): "Samsung",
    (1, 0x54): "Hewlett-Packard",
    (1, 0x5A): "Winbond",
    (1, 0x60): "LG Semi",
    (2, 0x11): "Dataram",
    (2, 0x14): "SMART Modular",
    (2, 0x18): "Kingston",
    (2, 0x32): "Mushkin",
    (2, 0x3A): "PNY",
    (2, 0x40): "Viking",
    (2, 0x45): "Micron CMS",
    (2, 0x4E): "Unigen",
    (2, 0x4F): "Transcend",
    (2, 0x5A): "Dane-Elec",
    (2, 0x7A): "Apacer",
    (3, 0x1E): "Corsair",
    (3, 0x35): "SpecTek",
    (3, 0x7E): "Elpida",
    (4, 0x03): "Buffalo",
    (4, 0x0B): "Nanya",
    (4, 0x13): "Golden Empire",
    (4, 0x14): "Mushkin",
    (4, 0x16): "Netlist",
    (4, 0x19): "Centon",
    (4, 0x25): "Kingmax",
    (4, 0x58): "takeMS",
    (4, 0x5A): "Swissbit",
    (4, 0x78): "SimpleTech",
    (5, 0x30): "OCZ",
    (5, 0x43): "Ramaxel",
    (5, 0x48): "Powerchip",
    (5, 0x4B): "A-DATA",
    (5, 0x4D): "G.Skill",
    (5, 0x6F): "Team Group",
    (6, 0x02): "Patriot",
    (6, 0x1B): "Crucial",
    (6, 0x3A): "Virtium",
    (6, 0x51): "Qimonda",
    (6, 0x56): "Walton Chaintech",
    (6, 0x57): "Aeneon",
    (6, 0x77): "Avant",
    (7, 0x34): "Super Talent",
    (7, 0x51): "Kinglife",
    (7, 0x53): "Silicon Power",
    (7, 0x5E): "Lexar",
    (7, 0x63): "ATP",
    (7, 0x6B): "TwinMOS",
    (7, 0x6D): "V-Color",
    (7, 0x71): "Innodisk",
    (8, 0x03): "Strontium",
    (8, 0x10): "King Tiger",
    (8, 0x12): "HT Micron",
    (8, 0x1E): "Teikon",
    (8, 0x46): "Gloway",
    (8, 0x5D): "Wilk (Goodram)",
    (9, 0x13): "Gloway",
    (9, 0x18): "Essencore (Klevv)",
    (9, 0x48): "Lenovo",
    (9, 0x71): "Asgard",
    (9, 0x75): "Juhor",
    (10, 0x03): "Hewlett Packard Enterprise",
    (10, 0x0C): "UMAX",
    (10, 0x22): "Maxsun",
    (10, 0x2D): "Neo Forza",
    (10, 0x42): "Kllisre",
    (10, 0x4D): "Longsys",
    (10, 0x68): "Kimtigo",
    (10, 0x6C): "Colorful",
    (10, 0x77): "Netac",
    (11, 0x11): "CXMT",
    (11, 0x14): "V-GeN",
    (11, 0x2D): "Puskill",
    (11, 0x31): "Biwin",
    (11, 0x42): "Thermaltake",
    (11, 0x6B): "Acer",
}
"""(bank, id without its parity bit): as people know them. Those whose modules are met; not all 1,500."""

SPD_BYTES = 8
"""Bytes 64 to 71 of what a module up to DDR2 stores of itself: continuations, the id, and whatever follows."""

_PREFIX = re.compile(r"(?:jedec id:|0x)\s*", re.IGNORECASE)


def maker_name(text: str) -> str:
    """`text` as it is, or the maker whose number it is; "" for a number that was left blank."""
    bare = _PREFIX.sub("", text, count=1).replace(" ", "")
    if not bare:
        return ""
    if not re.fullmatch(r"(?:[0-9a-fA-F]{2}){1,8}", bare) or (len(bare) < 4 and bare == text):
        return text
    data = bytes.fromhex(bare)
    return "" if not any(data) or set(data) == {0xFF} else _of_bytes(data) or text


def maker_of_id(word: int | None) -> str:
    """word: of a type 17 structure from SMBIOS 3.2 on; how many continuations in its low byte, the id in the high."""
    return "" if word is None else _name((word & 0x7F) + 1, word >> 8)


def _of_bytes(data: bytes) -> str:
    continued = len(data) - len(data.lstrip(bytes([CONTINUATION])))
    if continued:
        return _name(continued + 1, data[continued] if continued < len(data) else 0)
    if len(data) in (1, SPD_BYTES) or not any(data[1:]):
        return _name(1, data[0])
    # A count, then the id; by some firmware the other way round. A count is small, an id in use there is not.
    count, id_ = data[0] & 0x7F, data[1]
    if count >= MAX_BANKS > data[1] & 0x7F:
        count, id_ = data[1] & 0x7F, data[0]
    return _name(count + 1, id_)


def _name(bank: int, id_: int) -> str:
    return MAKERS.get((bank, id_ & 0x7F), "") if id_.bit_count() % 2 else ""


def part_number(text: str) -> str:
    """`text`, or where firmware printed its bytes in hexadecimal, what they spell."""
    bare = text[2:] if text[:2].lower() == "0x" else ""
    if not re.fullmatch(r"(?:[0-9a-fA-F]{2}){4,32}", bare):
        return text
    return " ".join("".join(chr(b) if 32 <= b < 127 else " " for b in bytes.fromhex(bare)).split())
