"""On the router, its line, and what is beyond it."""

from __future__ import annotations

from guidance.guidance import N_, Guidance

TEXTS = (
    Guidance(
        code="no-gateway",
        title=N_("The device knows no way out"),
        customer=N_("This device has an address, but was not told how to reach the internet."),
        customer_does=N_("Switch your router off, wait ten seconds, and switch it on again."),
        technician=N_("There is an address and no default route."),
        technician_does=N_("Ask for a lease by hand; a static configuration may lack its gateway."),
        command="ip route",
        script="renew-dhcp",
        guide="router",
    ),
    Guidance(
        code="gateway-silent",
        title=N_("The router does not answer"),
        customer=N_("This device is connected, but the router ({gateway}) is silent."),
        customer_does=N_("Switch your router off, wait ten seconds, and switch it on again."),
        technician=N_("{gateway} answers neither pings nor ARP on {interface}."),
        technician_does=N_(
            "Is it the right network? The router hangs, the VLAN is another one, or the address is of a "
            "network that was left."
        ),
        command="ip neigh; ip route",
        script="reset-network",
        guide="router",
    ),
    Guidance(
        code="gateway-duplicate",
        title=N_("Two devices say that they are the router"),
        customer=N_("More than one device in your network answers as the router, so connections fail at random."),
        customer_does=N_("Was another router or repeater added lately? Unplug it and try again."),
        technician=N_("Two hardware addresses answered for {gateway}."),
        technician_does=N_("Find the second one by its hardware address; a repeater in router mode is the usual case."),
        command="ip neigh; arping -D",
        guide="router",
    ),
    Guidance(
        code="wan-down",
        title=N_("The router's line to the internet is down"),
        customer=N_("The router works, but its own connection to the provider does not."),
        customer_does=N_(
            "Look at the router's lights. Check the telephone, fibre or coaxial cable at the router, and "
            "restart it once."
        ),
        technician=N_("The router itself says that its line is {link}."),
        technician_does=N_("Is there a disturbance at the provider? Read line values and log on the router's page."),
        guide="router",
    ),
    Guidance(
        code="double-nat",
        title=N_("There are two routers one behind the other"),
        customer=N_(
            "Your router is connected to another router ({address}). Most things work; some calls, games and"
            " cameras do not."
        ),
        technician=N_("The router's external address {address} is private: another NAT is in front of it."),
        technician_does=N_("Set one of the two to bridge mode, if something needs to be reached from outside."),
        guide="router",
    ),
    Guidance(
        code="carrier-nat",
        title=N_("The provider shares one address among customers"),
        customer=N_(
            "Your provider gives you no address of your own ({address}). Most things work; your network "
            "cannot be reached from outside."
        ),
        technician=N_("The router's external address {address} is of 100.64.0.0/10 (RFC 6598)."),
        technician_does=N_("Nothing to repair; a public address or IPv6 is the provider's to give."),
        guide="router",
    ),
    Guidance(
        code="internet-down",
        title=N_("Nothing beyond your router answers"),
        customer=N_("This device reaches the router, but nothing in the internet answers."),
        customer_does=N_(
            "Look at the router's lights, and restart it. If that does not help, your provider may have a disturbance."
        ),
        technician=N_("The gateway answers; no name server outside and not the relay, at any address that is known."),
        technician_does=N_("Ask the router (its page, `forward DEVICE gateway:80`) about its line."),
        command="ip route; ping -c 3 9.9.9.9",
        guide="router",
    ),
)
