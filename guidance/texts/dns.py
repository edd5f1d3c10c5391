"""On names and who answers for them."""

from __future__ import annotations

from guidance.guidance import N_, Guidance

TEXTS = (
    Guidance(
        code="dns-none",
        title=N_("No name server is set"),
        customer=N_("This device does not know whom to ask for web addresses."),
        customer_does=N_("Switch your router off, wait ten seconds, and switch it on again."),
        technician=N_("A default route, and no name server."),
        technician_does=N_("Set one, or ask for a lease by hand."),
        command="resolvectl status; cat /etc/resolv.conf",
        script="set-dns",
        guide="names",
    ),
    Guidance(
        code="dns-silent",
        title=N_("The name server does not answer"),
        customer=N_("This device has a connection, but the service that finds web addresses ({server}) is silent."),
        customer_does=N_("Switch your router off, wait ten seconds, and switch it on again."),
        technician=N_(
            "No answer from {server} on UDP port 53 to three questions ({outcome}); what is beyond the gateway answers."
        ),
        technician_does=N_("Set another name server, or restart the router's DNS forwarder."),
        command="resolvectl query example.com",
        script="set-dns",
        guide="names",
    ),
    Guidance(
        code="dns-failing",
        title=N_("The name server fails"),
        customer=N_("The service that finds web addresses ({server}) answers, but only with errors."),
        customer_does=N_("Switch your router off, wait ten seconds, and switch it on again."),
        technician=N_("{server} answers SERVFAIL."),
        technician_does=N_("Its upstream is unreachable, or DNSSEC fails: is the clock right?"),
        command="resolvectl query example.com",
        script="set-dns",
        guide="names",
    ),
    Guidance(
        code="dns-refused",
        title=N_("The name server refuses to answer"),
        customer=N_("The service that finds web addresses ({server}) does not answer this device."),
        customer_does=N_("Switch your router off, wait ten seconds, and switch it on again."),
        technician=N_("{server} answers REFUSED."),
        technician_does=N_("It serves other networks only: set the right one."),
        command="resolvectl status",
        script="set-dns",
        guide="names",
    ),
    Guidance(
        code="dns-no-name",
        title=N_("The support service's name does not exist here"),
        customer=N_("The name server ({server}) says that the address of your support service does not exist."),
        technician=N_("{server} answers NXDOMAIN for the relay."),
        technician_does=N_(
            "A filter, a name server of an inner network, or a relay that has moved: compare with another server."
        ),
        script="set-dns",
        guide="names",
    ),
    Guidance(
        code="dns-wrong",
        title=N_("The name server sends to the wrong place"),
        customer=N_("The name server ({server}) gives a wrong address ({address}) for your support service."),
        customer_does=N_("Is a filter, parental control or VPN active? Switch it off for a moment, and try again."),
        technician=N_("{server} answers {address} for the relay, which proved by its key to be at another address."),
        technician_does=N_("Set another name server; look for malware that changed the router's."),
        command="resolvectl status",
        script="set-dns",
        guide="names",
    ),
    Guidance(
        code="dns-hijacked",
        title=N_("The name server invents answers"),
        customer=N_("The name server ({server}) answers even for names that do not exist, with {address}."),
        customer_does=N_("Is a filter or VPN active? Switch it off for a moment, and try again."),
        technician=N_("{server} gave {address} for a name that nobody has."),
        technician_does=N_("A provider's advertising, a portal, or malware: set another name server."),
        script="set-dns",
        guide="names",
    ),
    Guidance(
        code="dns-one-dead",
        title=N_("One of the name servers does not work"),
        customer=N_(
            "Web pages may open slowly: one of the services that find web addresses ({server}) does not answer."
        ),
        technician=N_("{server}: {outcome}, while others answer."),
        technician_does=N_("Take it out of the configuration, or repair it."),
        command="resolvectl status",
        script="set-dns",
        guide="names",
    ),
    Guidance(
        code="dns-slow",
        title=N_("Names are found slowly"),
        customer=N_("Pages open slowly because finding web addresses takes long."),
        customer_does=N_("Switch your router off, wait ten seconds, and switch it on again."),
        technician=N_("{server} took {ms} ms."),
        technician_does=N_("Set a nearer name server."),
        script="set-dns",
        guide="names",
    ),
)
