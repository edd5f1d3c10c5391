"""On what the home router or modem says itself of its line."""

from __future__ import annotations

from guidance.guidance import N_, Guidance

TEXTS = (
    Guidance(
        code="router-wan-down",
        title=N_("The router's line to the internet is down"),
        customer=N_("The router works, but its own connection to the provider does not."),
        customer_does=N_(
            "Look at the router's lights. Check the telephone, fibre or coaxial cable at the router, and "
            "restart it once."
        ),
        technician=N_("The router itself says that its connection is {status}, its line {link}."),
        technician_does=N_("Is there a disturbance at the provider? Read line values and log on the router's page."),
        guide="router",
    ),
    Guidance(
        code="router-link-down",
        title=N_("The router's line is dead"),
        customer=N_("The router works, but nothing comes from the wall: its line to the provider has no signal."),
        customer_does=N_(
            "Check the cable from the router to the wall at both ends. If it is firm, call your provider: "
            "the line is interrupted."
        ),
        technician=N_("The router says that its physical line ({access}) is {link}: no signal, no sync."),
        technician_does=N_("Other cable, other socket, no splitters between; else it is the provider's to repair."),
        guide="router",
    ),
    Guidance(
        code="router-connecting",
        title=N_("The router is still connecting"),
        customer=N_("The router is connecting to your provider. After a restart that takes some minutes."),
        customer_does=N_("Wait five minutes. If it lasts, check its cable to the wall and restart it once."),
        technician=N_("The router says that its connection is {status}, its line {link}."),
        technician_does=N_("If it lasts: no sync, or no answer to PPP or DHCP. Read line values and log on its page."),
        guide="router",
    ),
    Guidance(
        code="router-auth-failed",
        title=N_("The provider does not accept the router's password"),
        customer=N_("The router reaches your provider, but is not let in: user name or password are not accepted."),
        customer_does=N_(
            "Was the router reset, or the contract changed? Find the letter with the access data, or ask your provider."
        ),
        technician=N_("The router's connection failed with {error}: its PPP credentials are refused."),
        technician_does=N_("Enter the access data anew on the router's page; the provider may have barred the line."),
        guide="router",
    ),
    Guidance(
        code="router-no-address",
        title=N_("The router has no address in the internet"),
        customer=N_("The router's line works, but it has no address in the internet: nobody has given it one."),
        customer_does=N_(
            "Take the router's plug out, wait ten seconds, and put it in again. If it lasts, call your provider."
        ),
        technician=N_(
            "The router says {status}, and no external address: no lease, or a private one that it keeps to itself."
        ),
        technician_does=N_(
            "A cable modem in front of it wants a restart after a change of routers: it serves the first one it saw."
        ),
        guide="router",
    ),
    Guidance(
        code="router-restarted-recently",
        title=N_("The router's connection was made anew a short time ago"),
        customer=N_("Your router connected to the provider {minutes} minutes ago; before that there was no internet."),
        technician=N_("By the router, its connection is {minutes} minutes old: a restart, or the line fell."),
        technician_does=N_("Nobody restarted it? See the outages: a line that falls daily is the provider's to mend."),
        guide="router",
    ),
    Guidance(
        code="wan-rates-low",
        title=N_("The line to the internet is very slow"),
        customer=N_("Your line brings {mbps} Mbit/s at most: too little for a video call beside anything else."),
        technician=N_("The router names {mbps} Mbit/s downwards for its line."),
        technician_does=N_("Compare with the contract; on DSL, see attenuation and noise margin on the router's page."),
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
        code="cgnat",
        title=N_("The provider shares one address among customers"),
        customer=N_(
            "Your provider gives you no address of your own ({address}). Most things work; your network "
            "cannot be reached from outside."
        ),
        technician=N_("The router's external address {address} is of 100.64.0.0/10 (RFC 6598)."),
        technician_does=N_("Nothing to repair; a public address or IPv6 is the provider's to give."),
        guide="router",
    ),
)
