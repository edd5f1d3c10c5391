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
