"""The rung of the home router: what its own words mean for the way out. Pure.

It is believed where it accuses its line and nothing beyond it answers, and never against what works: a router with two
lines, or one whose firmware forgets to look, says "Disconnected" while everybody is online.
"""

from __future__ import annotations

from agent.facts.parsers.igd import is_about_credentials
from protocol.sections.connectivity import Evidence, Rung
from protocol.sections.router import Router

NAME = "router"

ONLY_AN_ADDRESS = frozenset({"cable"})
"""Of access: miniupnpd, which is in most routers, calls every line so, and its link down as soon as it has no address.
That may be the plug, and may be the provider's."""


def judge_router(router: Router | None, *, is_beyond: bool) -> Rung:
    """is_beyond: something behind the router answered."""
    if router is None or not router.asked_by:
        return Rung(name=NAME, state="unknown")  # most can be asked, many have it switched off
    code = "" if is_beyond else _complaint(router)
    if code:
        return Rung(name=NAME, state="fail", code=code, evidence=_evidence(router))
    if is_beyond or router.wan == "up" or (router.link == "up" and not router.wan):
        return Rung(name=NAME, state="pass", evidence=_evidence(router))
    return Rung(name=NAME, state="unknown")


def _complaint(router: Router) -> str:
    """The code for what keeps the router from the internet, by its own words; the line before what runs on it."""
    if router.link == "down" and not (router.wan == "down" and router.access.lower() in ONLY_AN_ADDRESS):
        return "router-link-down"
    if router.wan != "up" and is_about_credentials(router.last_error):
        return "router-auth-failed"
    if router.wan == "connecting" or (router.link == "starting" and router.wan != "up"):
        return "router-connecting"
    if router.wan == "down":
        return "router-wan-down"
    return "router-no-address" if router.wan == "up" and router.external_kind == "none" else ""


def _evidence(router: Router) -> Evidence:
    """router, model, line and external address; what is not known is left out."""
    found: dict[str, str] = {
        "router": router.address,
        "model": " ".join(f"{router.maker} {router.model}".split()),
        "status": router.status,
        "error": "" if router.last_error in ("", "ERROR_NONE") else router.last_error,
        "link": router.link,
        "access": router.access,
        "address": router.external_address,
    }
    return {name: value for name, value in found.items() if value}
