"""On whoever stands between the device and the relay."""

from __future__ import annotations

from guidance.guidance import N_, Guidance

TEXTS = (
    Guidance(
        code="captive-portal",
        title=N_("The network wants you to log in first"),
        customer=N_("You are in a guest network, such as a hotel's, that lets nobody out before a login page."),
        customer_does=N_("Open any web page in a browser, and log in there."),
        technician=N_("Plain HTTP to the relay was redirected to {location}."),
        technician_does=N_("Only somebody at the device can log in."),
        guide="captive-portal",
    ),
    Guidance(
        code="proxy-needed",
        title=N_("This network needs a proxy"),
        customer=N_("Your company's network lets nobody out directly, and this device was not told through whom."),
        technician=N_("Plain HTTP was answered with 407, and no proxy is set."),
        technician_does=N_("Set it: `auxilio-agent proxy http://HOST:PORT`."),
        guide="proxy",
    ),
    Guidance(
        code="proxy-unreachable",
        title=N_("The proxy cannot be reached"),
        customer=N_("This device is to use a proxy that is not there."),
        customer_does=N_("Are you in another network than usual? Tell your support organisation."),
        technician=N_("{proxy}: {reason}"),
        technician_does=N_("Is it the right one for this network? `auxilio-agent proxy` shows and sets it."),
        command="auxilio-agent proxy",
        guide="proxy",
    ),
    Guidance(
        code="proxy-credentials",
        title=N_("The proxy wants a user and a password"),
        customer=N_("Your company's proxy does not accept this device without a valid user and password."),
        technician=N_("{proxy}: {reason}"),
        technician_does=N_("Set them: `auxilio-agent proxy -` reads the address from standard input."),
        command="auxilio-agent proxy -",
        guide="proxy",
    ),
    Guidance(
        code="proxy-refuses",
        title=N_("The proxy refuses the support service"),
        customer=N_("Your company's proxy does not let this device reach the support service."),
        technician=N_("{proxy}: {reason}"),
        technician_does=N_("Whoever runs the proxy has to allow CONNECT to the relay."),
        guide="proxy",
    ),
    Guidance(
        code="proxy-broken",
        title=N_("What is set as the proxy is none"),
        customer=N_("This device is to use a proxy that does not answer as one."),
        technician=N_("{proxy}: {reason}"),
        technician_does=N_("Is its kind right (http:// or socks5://)?"),
        command="auxilio-agent proxy",
        guide="proxy",
    ),
    Guidance(
        code="clock-wrong",
        title=N_("Date and time are wrong"),
        customer=N_("This device's clock is wrong by {seconds} seconds. Secure connections fail because of that."),
        customer_does=N_("Set date and time right, or switch on that they are set by themselves."),
        technician=N_("The clock differs by {seconds} s from the Date of whoever answered."),
        technician_does=N_("Set it, and switch on NTP; a dead clock battery comes back at each start."),
        command="timedatectl",
        script="set-time",
        guide="clock",
    ),
    Guidance(
        code="clock-off",
        title=N_("Date and time are a little wrong"),
        customer=N_("This device's clock is off by {seconds} seconds."),
        customer_does=N_("Switch on that date and time are set by themselves."),
        technician=N_("The clock differs by {seconds} s."),
        technician_does=N_("Switch on NTP."),
        command="timedatectl",
        script="set-time",
        guide="clock",
    ),
    Guidance(
        code="tls-intercepted",
        title=N_("Somebody opens your secure connections"),
        customer=N_(
            "Something between this device and your support service opens encrypted connections: {issuer}. "
            "We do not connect through it."
        ),
        customer_does=N_(
            "Is an antivirus or a company filter active that checks secure connections? Ask whoever runs it "
            "for an exception."
        ),
        technician=N_("The relay's host showed a key that is not the relay's: subject {subject}, issuer {issuer}."),
        technician_does=N_(
            "An exception for the relay at the filter or antivirus. Never accept its authority for the agent."
        ),
        guide="certificates",
    ),
    Guidance(
        code="tls-dates",
        title=N_("The support service's certificate is out of date, or your clock is"),
        customer=N_("The certificate of your support service is not valid at the time that this device has."),
        customer_does=N_("Are date and time right?"),
        technician=N_("Its dates do not fit this clock: subject {subject}, issuer {issuer}."),
        technician_does=N_("If the clock is right, the relay's certificate has to be renewed."),
        command="timedatectl",
        script="set-time",
        guide="certificates",
    ),
    Guidance(
        code="tls-broken",
        title=N_("Secure connections are cut off"),
        customer=N_("Something on the way does not let secure connections through."),
        customer_does=N_("Is a filter or VPN active? Switch it off for a moment, and try again."),
        technician=N_("A TCP connection stands, and TLS fails at once."),
        technician_does=N_("A filter that resets TLS, or something else listens at that port."),
        guide="certificates",
    ),
    Guidance(
        code="mtu-black-hole",
        title=N_("Large packets are lost on the way"),
        customer=N_("Small things work and large ones hang: the line takes smaller packets than this device was told."),
        customer_does=N_("Switch your router off, wait ten seconds, and switch it on again."),
        technician=N_(
            "A large request to {host} passes in small segments alone, and nobody says that packets are too big."
        ),
        technician_does=N_("Lower the MTU of the device or router (1400, 1280), or let ICMP through."),
        command="ip link set dev INTERFACE mtu 1400",
        guide="router",
    ),
    Guidance(
        code="ipv6-broken",
        title=N_("One of two ways to the internet is broken"),
        customer=N_("The newer way to the internet (IPv6) does not work here, so that connections begin slowly."),
        customer_does=N_("Switch your router off, wait ten seconds, and switch it on again."),
        technician=N_("There is an IPv6 default route; {address} is {outcome}, and IPv4 works."),
        technician_does=N_("Repair or switch off IPv6 at the router."),
        command="ip -6 route",
        guide="router",
    ),
)
