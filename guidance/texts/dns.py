"""On names and who answers for them."""

from __future__ import annotations

from guidance.guidance import N_, Guidance

TEXTS = (
    Guidance(
        code="dns-silent",
        title=N_("The name server does not answer"),
        customer=N_("This device has a connection, but the service that finds web addresses ({server}) is silent."),
        customer_does=N_("Switch your router off, wait ten seconds, and switch it on again."),
        technician=N_("No answer from {server} on UDP port 53 to three questions; what is beyond the gateway answers."),
        technician_does=N_("Set another name server, or restart the router's DNS forwarder."),
        command="resolvectl query example.com",
        script="set-dns",
        guide="names",
    ),
)
