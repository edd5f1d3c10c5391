"""A diagnosis as one page: to print, to mail, to show to whoever comes by. It loads nothing and runs nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from agent.diagnosis.look import Diagnosis
from agent.diagnosis.page_parts import what_wears
from agent.diagnosis.page_software import software_part
from agent.diagnosis.router_rows import router_rows
from agent.diagnosis.text import throughput_text
from agent.messages import say
from guidance.catalogue import guidance_for
from guidance.guides import guide_text
from guidance.language import fill, translated
from guidance.memory import memory_answer
from protocol.sections.connectivity import Rung
from protocol.sections.findings import Finding
from protocol.sections.machine import System
from protocol.sections.memory import Memory
from protocol.sections.modem import Modem, Modems
from protocol.sections.storage import Storage
from protocol.sections.wifi import Wifi, WifiInterface
from protocol.units import size_text

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ccd3dc; }
.verdict { font-size: 1.2rem; padding: .8rem 1rem; border-left: .5rem solid; margin: 1rem 0; background: #f5f7f9; }
.error { border-color: #b3261e; } .warning { border-color: #c77700; } .info, .well { border-color: #2e7d4f; }
article { border-left: .35rem solid; padding: .1rem 1rem; margin: 1rem 0; break-inside: avoid; }
article h3 { margin: .3rem 0; font-size: 1rem; } article p { margin: .3rem 0; }
code, .small { font-size: .85rem; color: #56616f; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; } td, th { text-align: left; padding: .2rem .5rem; }
tr { border-bottom: 1px solid #e4e8ed; }
.pass::before { content: "\\2713  "; color: #2e7d4f; } .fail::before { content: "\\2717  "; color: #b3261e; }
.warn::before { content: "!  "; color: #c77700; } .unknown::before { content: "?  "; color: #56616f; }
.bar { background: #e4e8ed; height: .9rem; width: 12rem; display: inline-block; vertical-align: middle; }
.bar i { display: block; height: 100%; background: #3a6ea5; } .bar i.full { background: #b3261e; }
@media print { body { margin: 0; } .verdict { background: none; } }
"""

NEARLY_FULL_PERCENT = 90


def page(diagnosis: Diagnosis, language: str) -> str:
    """HTML 5, UTF-8. language: "en" or "es". Every value is escaped: names of networks and disks are anybody's."""
    host = _system(diagnosis).hostname
    parts = [
        f'<!doctype html><html lang="{language}"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escape(say('page_title', host=host))}</title><style>{STYLE}</style>",
        f"<h1>{escape(say('page_title', host=host))}</h1>",
        f'<p class="small">{datetime.fromtimestamp(diagnosis.at, UTC):%Y-%m-%d %H:%M} UTC'
        + "".join(f" &middot; {escape(word)}" for word in _machine(diagnosis))
        + "</p>",
        _verdict(diagnosis, language),
        *(_finding(finding, language) for finding in diagnosis.findings.findings),
        f"<h2>{escape(say('ladder'))}</h2><table>",
        *(_rung(rung) for rung in diagnosis.connectivity.rungs),
        "</table>",
        *_radio(diagnosis),
        *([f"<p>{escape(rate)}</p>"] if (rate := throughput_text(diagnosis.connectivity)) else []),
        *_router(diagnosis),
        *_bars(diagnosis),
        *_modules(diagnosis, language),
        *software_part(diagnosis.sections),
        *what_wears(diagnosis.sections),
        *_not_available(diagnosis),
        *_guides(diagnosis, language),
    ]
    return "\n".join(parts) + "\n"


def _system(diagnosis: Diagnosis) -> System:
    system = diagnosis.sections.get("system")
    return system if isinstance(system, System) else System()


def _machine(diagnosis: Diagnosis) -> list[str]:
    """What is known of it."""
    system = _system(diagnosis)
    return [word for word in (system.os_name, system.model) if word]


def _verdict(diagnosis: Diagnosis, language: str) -> str:
    verdict = diagnosis.verdict
    if verdict is None:
        key = "verdict_connected" if diagnosis.target.address is not None else "verdict_no_relay"
        return f'<p class="verdict well">{escape(say(key))}</p>'
    finding = next((f for f in diagnosis.findings.findings if f.code == verdict.code), None)
    title = _title(finding, language) if finding is not None else verdict.code
    key, style = ("verdict_broken", "error") if verdict.state == "fail" else ("verdict_warns", "warning")
    return f'<p class="verdict {style}">{escape(say(key, title=title))}</p>'


def _title(finding: Finding, language: str) -> str:
    guidance = guidance_for(finding.code)
    return fill(translated(guidance, language).title, finding, language) if guidance else finding.code


def _finding(finding: Finding, language: str) -> str:
    guidance = guidance_for(finding.code)
    about = f" &ndash; {escape(finding.subject)}" if finding.subject else ""
    lines = [f"<h3>{escape(_title(finding, language))}{about}</h3>"]
    if guidance is not None:
        texts = translated(guidance, language)
        lines.append(f"<p>{escape(fill(texts.customer, finding, language))}</p>")
        if texts.customer_does:
            lines.append(f"<p><b>{escape(fill(texts.customer_does, finding, language))}</b></p>")
        lines.append(f'<p class="small">{escape(fill(texts.technician, finding, language))}</p>')
    lines.append(f"<p><code>{escape(finding.code)}</code></p>")
    return f'<article class="{finding.severity}">' + "".join(lines) + "</article>"


def _rung(rung: Rung) -> str:
    evidence = ", ".join(f"{name} {value}" for name, value in rung.evidence.items() if value != "")
    name = escape(say("rung_" + rung.name))
    return f'<tr><td class="{rung.state}">{name}</td><td class="small">{escape(evidence)}</td></tr>'


def _radio(diagnosis: Diagnosis) -> list[str]:
    """Which network, and how strong, as phones draw it."""
    wifi, modem = diagnosis.sections.get("wifi"), diagnosis.sections.get("modem")
    found: list[WifiInterface | Modem] = [*wifi.interfaces] if isinstance(wifi, Wifi) else []
    found += modem.modems if isinstance(modem, Modems) else ()
    rows = [_radio_row(one) for one in found]
    return [f"<h2>{escape(say('page_radio'))}</h2><table>", *rows, "</table>"] if rows else []


def _radio_row(one: WifiInterface | Modem) -> str:
    if isinstance(one, WifiInterface):
        name, network = one.name, [one.ssid, f"{one.band} GHz" if one.band else "", one.security]
    else:
        name, network = one.model or one.name, [one.operator or one.operator_code, one.technology, one.apn]
    bar = ""
    if one.signal_word is not None:
        percent = {"excellent": 100, "good": 75, "fair": 50, "weak": 25, "none": 5}[one.signal_word]
        low = ' class="full"' if percent <= 25 else ""
        bar = f'<span class="bar"><i{low} style="width:{percent}%"></i></span> '
        bar += f"{escape(say('signal_' + one.signal_word))} ({one.signal_dbm} dBm)"
    said = " &middot; ".join(escape(part) for part in (one.state, *network) if part)
    return f'<tr><td>{escape(name)}</td><td>{bar}</td><td class="small">{said}</td></tr>'


def _router(diagnosis: Diagnosis) -> list[str]:
    rows = [
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
        for name, value in router_rows(diagnosis.sections.get("router"))
    ]
    return [f"<h2>{escape(say('router'))}</h2><table>", *rows, "</table>"] if rows else []


def _bars(diagnosis: Diagnosis) -> list[str]:
    rows = []
    memory, storage = diagnosis.sections.get("memory"), diagnosis.sections.get("storage")
    if isinstance(memory, Memory) and memory.total and memory.used is not None:
        rows.append(_bar(say("page_memory"), memory.used, memory.total))
    if isinstance(storage, Storage):
        rows += [
            _bar(filesystem.mount, filesystem.used, filesystem.size)
            for filesystem in storage.filesystems
            if filesystem.size
        ]
    return [f"<h2>{escape(say('page_room'))}</h2><table>", *rows, "</table>"] if rows else []


def _modules(diagnosis: Diagnosis, language: str) -> list[str]:
    """What can be done about memory, in words."""
    memory = diagnosis.sections.get("memory")
    answer = memory_answer(memory, language) if isinstance(memory, Memory) else None
    if answer is None:
        return []
    doubts = "".join(f'<p class="small">{escape(doubt)}</p>' for doubt in answer.doubts)
    return [f"<h2>{escape(say('memory_answer'))}</h2><p>{escape(answer.line)}.</p>{doubts}"]


def _bar(name: str, used: int, total: int) -> str:
    percent = min(100, round(100 * used / total))
    full = ' class="full"' if percent >= NEARLY_FULL_PERCENT else ""
    bar = f'<span class="bar"><i{full} style="width:{percent}%"></i></span> {percent} %'
    sizes = f"{escape(size_text(used))} / {escape(size_text(total))}"
    return f'<tr><td>{escape(name)}</td><td>{bar}</td><td class="small">{sizes}</td></tr>'


def _not_available(diagnosis: Diagnosis) -> list[str]:
    rows = [
        f"<li>{escape(name)}: {escape(source)}: {escape(reason)}</li>"
        for name, section in diagnosis.sections.items()
        for source, reason in section.unavailable.items()
    ]
    return [f'<h2>{escape(say("not_looked_at"))}</h2><ul class="small">', *rows, "</ul>"] if rows else []


def _guides(diagnosis: Diagnosis, language: str) -> list[str]:
    """The guides of what was found, whole: who reads this may have no network to follow a link."""
    names = dict.fromkeys(
        guidance.guide
        for finding in diagnosis.findings.findings
        if (guidance := guidance_for(finding.code)) is not None and guidance.guide
    )
    parts = []
    for name in names:
        parts += [f"<section>{paragraphs(guide_text(name, language))}</section>"]
    return parts


def paragraphs(markdown: str) -> str:
    """A guide as HTML: its headings, lists and paragraphs, which is all that guides use."""
    parts: list[str] = []
    listing = ""
    for block in markdown.split("\n"):
        line = block.strip()
        kind = "ol" if line[:2].rstrip(".").isdigit() else "ul" if line.startswith("- ") else ""
        if listing and kind != listing:
            parts.append(f"</{listing}>")
        if kind and kind != listing:
            parts.append(f"<{kind}>")
        listing = kind
        if kind:
            parts.append(f"<li>{escape(line.split(' ', 1)[1])}</li>")
        elif line.startswith("#"):
            parts.append(f"<h2>{escape(line.lstrip('# '))}</h2>")
        elif line:
            parts.append(f"<p>{escape(line)}</p>")
    if listing:
        parts.append(f"</{listing}>")
    return "\n".join(parts)
