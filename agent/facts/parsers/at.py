"""What a modem says to AT commands: one transcript, of any number of answers, echoed or not. Pure.

3GPP TS 27.007 for what all modems know; Quectel's, Fibocom's, Sierra's, Dell's and Huawei's own words where their
units are certain. Firmware is creative: answers without their line end, without a space after the colon, in
brackets, with half a pair of quotes. What does not fit is left out; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from agent.facts.parsers import cellular
from agent.facts.parsers.cellular import REGISTRATIONS_3GPP, TECHNOLOGIES_3GPP, db, dbm, text_of, within
from protocol.sections.modem import Bearer, Modem

MAX_TEXT_CHARS = 64 * 1024
MAX_FIELDS = 32

PIN_LOCKS = {
    "SIM PIN": "sim-pin",
    "SIM PUK": "sim-puk",
    "SIM PIN2": "sim-pin2",
    "SIM PUK2": "sim-puk2",
    "PH-SIM PIN": "ph-sim-pin",
    "PH-NET PIN": "ph-net-pin",
    "PH-NET PUK": "ph-net-puk",
    "PH-NETSUB PIN": "ph-netsub-pin",
    "PH-SP PIN": "ph-sp-pin",
    "PH-CORP PIN": "ph-corp-pin",
}
ERRORS: dict[str, Modem] = {
    "10": Modem(failed_reason="sim-missing"),
    "11": Modem(lock="sim-pin"),
    "12": Modem(lock="sim-puk"),
    "13": Modem(failed_reason="sim-error"),
    "15": Modem(failed_reason="sim-error"),
    "sim not inserted": Modem(failed_reason="sim-missing"),
    "sim pin required": Modem(lock="sim-pin"),
    "sim puk required": Modem(lock="sim-puk"),
    "sim failure": Modem(failed_reason="sim-error"),
    "sim wrong": Modem(failed_reason="sim-error"),
}
"""+CME ERROR of TS 27.007 section 9.2, as a number (AT+CMEE=1) and in words (AT+CMEE=2)."""

REGISTRATION_ORDER = ("C5GREG", "CEREG", "CGREG", "CREG")
"""Data first: a modem may be registered for telephony alone."""

_GOOD = ("home", "roaming")
_ANSWER = re.compile(r"(?P<name>[+^!$][A-Z][A-Z0-9]{1,15}): ?(?P<rest>[^\r\n]*)")
_FIELD = re.compile(r'\s*"(?P<quoted>[^"\r\n]*)"?\s*(?:,|$)|(?P<plain>[^,]*)(?:,|$)')

Answers = list[tuple[str, list[str]]]


def parse_at(text: str) -> Modem:
    """What the transcript says, all of it together. Never raises; a transcript without answers is an empty Modem."""
    text = text[:MAX_TEXT_CHARS]
    answers = list(_answers(text))
    found = [reader(fields) for name, fields in answers if (reader := _READERS.get(name)) is not None]
    vendors = _rows_of_fibocom(text), _free_text(text)
    parts = [_errors(text), _registration(answers), *_best_measures(found), *vendors, _identity(text)]
    modem = cellular.merged(msgspec.structs.replace(parts[0], by="at"), *parts[1:])
    if any(one.technology == "lte+5gnr" for one in found):
        modem = msgspec.structs.replace(modem, technology="lte+5gnr")
    return cellular.concluded(modem)


def fields_of(rest: str) -> list[str]:
    """Values between commas, unquoted; a quote that is never closed ends with the line."""
    fields: list[str] = []
    at = 0
    while at < len(rest) and len(fields) < MAX_FIELDS:
        found = _FIELD.match(rest, at)
        if found is None or found.end() == at:
            break
        fields.append((found["quoted"] if found["quoted"] is not None else found["plain"] or "").strip())
        at = found.end()
    return fields


def _answers(text: str) -> Iterator[tuple[str, list[str]]]:
    """Also two that firmware left on one line."""
    for found in _ANSWER.finditer(re.sub(r"(?<=[^\r\n:])(?=\+QCAINFO: )", "\n", text)):
        yield found["name"][1:], fields_of(found["rest"].strip())


def _best_measures(found: list[Modem]) -> list[Modem]:
    """What names the cell itself before the coarse figure of +CSQ, which counts for GSM."""
    return sorted(found, key=lambda modem: modem.rsrp_dbm is None and modem.rssi_dbm is not None)


# -- what all modems know ---------------------------------------------------------------------------------------------


def _cpin(fields: list[str]) -> Modem:
    return Modem(lock=PIN_LOCKS.get(fields[0].upper(), "")) if fields else Modem()


def _csq(fields: list[str]) -> Modem:
    """<rssi> 0 to 31: -113 dBm in steps of 2; 99 is unknown, and what many LTE modems always say."""
    value = within(_at(fields, 0), 0, 31)
    return Modem(rssi_dbm=-113 + 2 * value) if value is not None else Modem()


def _cesq(fields: list[str]) -> Modem:
    """<rxlev>,<ber>,<rscp>,<ecno>,<rsrq>,<rsrp>[,<ss_rsrq>,<ss_rsrp>,<ss_sinr>]; 99 and 255 are unknown."""
    rxlev, rscp = within(_at(fields, 0), 0, 63), within(_at(fields, 2), 0, 96)
    rsrq, rsrp = within(_at(fields, 4), 0, 34), within(_at(fields, 5), 0, 97)
    ss_rsrq, ss_rsrp, ss_sinr = (within(_at(fields, index), 0, 126) for index in (6, 7, 8))
    if rsrp is None and ss_rsrp is not None:
        return Modem(
            rsrp_dbm=dbm(-157 + ss_rsrp),
            rsrq_db=db(-43.5 + ss_rsrq / 2, -43) if ss_rsrq is not None else None,
            snr_db=db(-23.5 + ss_sinr / 2) if ss_sinr is not None else None,
        )
    return Modem(
        rssi_dbm=dbm(-111 + rxlev) if rxlev is not None else None,
        rscp_dbm=dbm(-121 + rscp) if rscp is not None else None,
        rsrp_dbm=dbm(-141 + rsrp) if rsrp is not None else None,
        rsrq_db=db(-20 + rsrq / 2) if rsrq is not None else None,
    )


def _cops(fields: list[str]) -> Modem:
    """<mode>[,<format>,<oper>[,<AcT>]]. Some put brackets around it, and say it twice; a list of networks (the answer
    to the search) begins with brackets as well, but has a name where this has the format."""
    fields = [field.strip("() ") for field in fields]
    if len(fields) < 3 or fields[1] not in ("0", "1", "2"):
        return Modem()
    technology = TECHNOLOGIES_3GPP.get(_whole(_at(fields, 3)), "")
    if fields[1] == "2":
        return Modem(operator_code=cellular.operator_code(fields[2]), technology=technology)
    return Modem(operator=text_of(fields[2]), technology=technology)


def _registration(answers: Answers) -> Modem:
    """The best of what the domains say: registered (for data first), refused, searching."""
    said: dict[str, Modem] = {}
    for name, fields in answers:
        if name in REGISTRATION_ORDER and (one := _creg(fields)).registration:
            said[name] = one
    ordered = [said[name] for name in REGISTRATION_ORDER if name in said]
    for wanted in (_GOOD, ("denied",), ("searching",)):
        for one in ordered:
            if one.registration in wanted:
                return one
    return ordered[0] if ordered else Modem()


def _creg(fields: list[str]) -> Modem:
    """<n>,<stat>[,<lac>,<ci>,<AcT>...] to the question; <stat>[,...] on its own account, where a place follows."""
    if len(fields) > 1 and re.fullmatch(r"[0-9]{1,2}", fields[1]) and re.fullmatch(r"[0-5]", fields[0]):
        stat, rest = fields[1], fields[2:]
    else:
        stat, rest = (fields[0], fields[1:]) if fields else ("", [])
    registration = REGISTRATIONS_3GPP.get(_whole(stat), "")
    return Modem(registration=registration, technology=TECHNOLOGIES_3GPP.get(_whole(_at(rest, 2)), ""))


def _cgdcont(fields: list[str]) -> Modem:
    apn = text_of(_at(fields, 2), 100)
    return Modem(bearers=(Bearer(apn=apn, ip_type=_at(fields, 1).lower()[:8]),)) if apn else Modem()


def _cfun(fields: list[str]) -> Modem:
    """0 off, 1 on, 4 flight mode."""
    return Modem(power={"0": "low", "1": "on", "4": "low"}.get(_at(fields, 0), ""))


def _errors(text: str) -> Modem:
    found = [ERRORS.get(said.strip().lower()) for said in re.findall(r"\+CME ERROR: ?([^\r\n]{1,40})", text)]
    return next((modem for modem in found if modem is not None), Modem())


# -- Quectel ----------------------------------------------------------------------------------------------------------


def _qcsq(fields: list[str]) -> Modem:
    """LTE: rssi, rsrp, sinr, rsrq. sinr: 0 to 250, a fifth of a dB from -20. Some give rssi without its sign."""
    if _at(fields, 0) != "LTE":
        return Modem()
    rssi, sinr = within(_at(fields, 1), -120, 120), within(_at(fields, 3), 0, 250)
    return Modem(
        technology="lte",
        rssi_dbm=dbm(-abs(rssi)) if rssi is not None else None,
        rsrp_dbm=dbm(_at(fields, 2)),
        snr_db=db(sinr / 5 - 20) if sinr is not None else None,
        rsrq_db=db(_at(fields, 4)),
    )


def _qeng(fields: list[str]) -> Modem:
    """The serving cell; with 5G beside LTE in three answers. sinr in dB here."""
    if _at(fields, 0) == "servingcell":
        searching = _at(fields, 1) in ("SEARCH", "LIMSRV")
        fields = fields[2:]
        if not fields:
            return Modem(registration="searching") if searching else Modem()
    if _at(fields, 0) == "LTE":
        return _qeng_cell(fields, "lte", band=7, rsrp=11, rsrq=12, rssi=13, snr=14)
    if _at(fields, 0) == "NR5G-SA":
        return _qeng_cell(fields, "5gnr", band=8, rsrp=10, rsrq=11, rssi=None, snr=12)
    if _at(fields, 0) == "NR5G-NSA":
        return Modem(technology="lte+5gnr")
    return Modem()


def _qeng_cell(
    fields: list[str], technology: str, *, band: int, rsrp: int, rsrq: int, rssi: int | None, snr: int
) -> Modem:
    number = within(_at(fields, band), 1, 512)
    return Modem(
        technology=technology,
        operator_code=cellular.code_of(_at(fields, 2), _at(fields, 3)),
        band=f"{'n' if technology == '5gnr' else 'B'}{number}" if number is not None else "",
        rsrp_dbm=dbm(_at(fields, rsrp)),
        rsrq_db=db(_at(fields, rsrq)),
        rssi_dbm=dbm(_at(fields, rssi)) if rssi is not None else None,
        snr_db=db(_at(fields, snr)),
    )


def _qspn(fields: list[str]) -> Modem:
    return Modem(operator=text_of(_at(fields, 0)), operator_code=cellular.operator_code(_at(fields, 4)))


def _qnwinfo(fields: list[str]) -> Modem:
    return Modem(
        technology={"LTE": "lte", "NR5G": "5gnr", "WCDMA": "umts", "GSM": "gsm"}.get(_at(fields, 0).split(" ")[-1], ""),
        operator_code=cellular.operator_code(_at(fields, 1)),
        band=_band(_at(fields, 2)),
    )


def _qcainfo(fields: list[str]) -> Modem:
    """The primary carrier's band. Its figures move with the firmware's version, so they are not read."""
    return Modem(band=_band(_at(fields, 3))) if _at(fields, 0) == "PCC" else Modem()


def _band(text: str) -> str:
    found = re.fullmatch(r"(LTE|NR5G) BAND ([0-9]{1,3})", text)
    return f"{'n' if found.group(1) == 'NR5G' else 'B'}{found.group(2)}" if found else ""


# -- Huawei and its kin -----------------------------------------------------------------------------------------------


def _sysinfo(fields: list[str]) -> Modem:
    """<service>,<domain>,<roaming>,<mode>,<SIM state>: 255 is no card, 0 one that does not fit."""
    card = {"255": "sim-missing", "0": "sim-error"}.get(_at(fields, 4), "")
    roaming = {"0": False, "1": True}.get(_at(fields, 2)) if _at(fields, 0) == "2" else None
    return Modem(failed_reason=card, roaming=roaming)


# -- Fibocom: rows below a heading ------------------------------------------------------------------------------------


def _rows_of_fibocom(text: str) -> Modem:
    """+GTCCINFO: 1,<rat>,<mcc>,<mnc>,<tac>,<ci>,<arfcn>,<pci>,<band>,<bandwidth>,<snr>,<rxlev>,<rsrp>,<rsrq>.

    rsrp and rsrq are counted as +CESQ does. snr has a unit that differs between modules, and is left out.
    """
    if "GTCCINFO" not in text:
        return Modem()
    for row in re.findall(r"^1,[49],[0-9A-Fa-f,-]{10,120}$", text, re.MULTILINE):
        fields = row.split(",")
        nr = fields[1] == "9"
        rsrp, rsrq = within(_at(fields, 12), 0, 126 if nr else 97), within(_at(fields, 13), 0, 126 if nr else 34)
        return Modem(
            technology="5gnr" if nr else "lte",
            operator_code=cellular.code_of(_at(fields, 2), _at(fields, 3).zfill(2)),
            band=_fibocom_band(_at(fields, 8)),
            rsrp_dbm=dbm((-157 if nr else -141) + rsrp) if rsrp is not None else None,
            rsrq_db=db((-43.5 if nr else -20) + rsrq / 2, -43) if rsrq is not None else None,
        )
    return Modem()


def _fibocom_band(text: str) -> str:
    """LTE's are 100 above their number, 5G's begin with 50."""
    number = _whole(text)
    if 100 < number < 190:
        return f"B{number - 100}"
    return f"n{text[2:]}" if re.fullmatch(r"50[0-9]{1,3}", text) else ""


# -- Sierra and Dell: a page for people -------------------------------------------------------------------------------


def _free_text(text: str) -> Modem:
    """AT!GSTATUS? and AT^DEBUG?: "RSRP (dBm):  -110", "RSRQ: -11.2dB"; the first receiver's where there are two."""
    if not re.search(r"GSTATUS|RSRP ?(\(dBm\))?:", text):
        return Modem()

    def value(pattern: str) -> str:
        return _found(pattern + r":\s*(-?[0-9]{1,3}(?:\.[0-9])?)", text)

    plmn = re.search(r"^PLMN: ([0-9]{3}) ([0-9]{2,3})\b", text, re.MULTILINE)
    band = re.search(r"LTE band:\s*(B[0-9]{1,3})\b|\bLTE_(B[0-9]{1,3})\b", text)
    registered = re.search(r"EMM state:\s*Registered|SRV/REGISTERED", text)
    return Modem(
        technology="lte" if band or re.search(r"System mode:\s*LTE", text) else "",
        operator_code=cellular.code_of(*plmn.groups()) if plmn else "",
        band=next(filter(None, band.groups()), "") if band else "",
        power={"ONLINE": "on", "LOW POWER MODE": "low"}.get(_found(r"Mode:[ \t]+([A-Z ]*[A-Z])", text), ""),
        rsrp_dbm=dbm(value(r"(?<!AVG )RSRP ?(?:\(dBm\))?")),
        rsrq_db=db(value(r"RSRQ ?(?:\(dB\))?")),
        rssi_dbm=dbm(value(r"(?:RxM )?RSSI")),
        snr_db=db(value(r"SINR ?(?:\(dB\))?")),
        state="registered" if registered else "",  # which does not say whether at home: +CEREG does
    )


# -- who it is --------------------------------------------------------------------------------------------------------


def _identity(text: str) -> Modem:
    return Modem(
        manufacturer=_said(text, "CGMI") or text_of(_found(r"^Manufacturer:[ ]*(?:I:)?([^\r\n]*)", text)),
        model=_said(text, "CGMM") or text_of(_found(r"^Model:[ ]*(?:I:)?([^\r\n]*)", text)),
        firmware=_said(text, "CGMR") or text_of(_found(r"^Revision:[ ]*(?:I:)?([^\r\n]*)", text)),
    )


def _said(text: str, command: str) -> str:
    """With its name in front, once or twice, or alone in the line after the echo."""
    named = _found(rf"\+{command}: ?\"?([^\"\r\n]*)", text.replace(f"+{command}:+{command}:", f"+{command}:"))
    if named:
        return text_of(named)
    alone = _found(rf"^AT\+{command}[\r\n]+([^\r\n]{{1,512}})", text)
    return text_of(alone) if alone.strip() not in ("OK", "ERROR") and not alone.startswith(("+CME", "AT+")) else ""


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1) if found else ""


def _at(fields: list[str], index: int) -> str:
    return fields[index] if index < len(fields) else ""


def _whole(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,3}", text) else -1


_READERS: dict[str, Callable[[list[str]], Modem]] = {
    "CPIN": _cpin,
    "CSQ": _csq,
    "CESQ": _cesq,
    "COPS": _cops,
    "CGDCONT": _cgdcont,
    "CFUN": _cfun,
    "QCSQ": _qcsq,
    "QENG": _qeng,
    "QSPN": _qspn,
    "QNWINFO": _qnwinfo,
    "QCAINFO": _qcainfo,
    "SYSINFO": _sysinfo,
}
