"""On Wi-Fi: off, refused, out of reach, weak, crowded, open."""

from __future__ import annotations

from guidance.guidance import N_, Guidance

LINK = "iw dev; nmcli device status; rfkill list"
LOG = "journalctl -b -t wpa_supplicant | tail -50"

TEXTS = (
    Guidance(
        code="wifi-off",
        title=N_("Wi-Fi is switched off"),
        customer=N_("The Wi-Fi of this device is switched off, and there is no other way to the internet."),
        customer_does=N_("Switch flight mode off and Wi-Fi on. Look for a switch or a key with an antenna."),
        technician=N_("rfkill or the settings block the radio of {interface}."),
        technician_does=N_("Unblock it; a hard block is a switch of the device or its firmware."),
        command="rfkill list; rfkill unblock wlan; nmcli radio wifi on",
        guide="wifi",
    ),
    Guidance(
        code="wifi-auth-failed",
        title=N_("The Wi-Fi password is wrong"),
        customer=N_("The Wi-Fi network does not let this device in: the password that it has is not the right one."),
        customer_does=N_("Choose the network again and type its password anew. It is often on the router's label."),
        technician=N_("{interface} was refused by the network's authentication: a wrong key, or wrong credentials."),
        technician_does=N_("Was the router's password changed? For a company's network: account and certificate."),
        command=LOG,
        guide="wifi",
    ),
    Guidance(
        code="wifi-refused",
        title=N_("The Wi-Fi network does not let this device in"),
        customer=N_("The network is in reach, but connecting to it does not succeed."),
        customer_does=N_("Switch the router off, wait ten seconds, and switch it on. Then choose the network again."),
        technician=N_("Association or authentication of {interface} fails ({reason})."),
        technician_does=N_("Too many devices, a filter by hardware address, WPA3 alone, or a driver's fault."),
        command=LOG,
        guide="wifi",
    ),
    Guidance(
        code="wifi-not-found",
        title=N_("The Wi-Fi network is not in reach"),
        customer=N_("This device does not see the Wi-Fi network that it knows."),
        customer_does=N_("Go nearer to the router, and look whether its Wi-Fi light is on. Was the network renamed?"),
        technician=N_("The network that {interface} is set to was not found."),
        technician_does=N_("Router off, another name, a band or channel that this adapter does not know."),
        command="iw dev; nmcli device wifi list",
        guide="wifi",
    ),
    Guidance(
        code="wifi-not-connected",
        title=N_("This device is connected to no Wi-Fi network"),
        customer=N_("Wi-Fi is on, but connected to no network."),
        customer_does=N_("Choose your network in the list and type its password."),
        technician=N_("{interface} is not associated, and nobody says why."),
        technician_does=N_("Is a network saved, and does it connect by itself?"),
        command=LINK,
        script="reset-network",
        guide="wifi",
    ),
    Guidance(
        code="wifi-signal-weak",
        title=N_("The Wi-Fi signal is weak"),
        customer=N_("The device is too far from the router, so the connection is slow and breaks off."),
        customer_does=N_("Go nearer to the router, or move the router to an open place, away from metal."),
        technician=N_("{signal_dbm} dBm on {interface}."),
        technician_does=N_("Place of the access point, 2.4 GHz for distance, a second access point."),
        command=LINK,
        guide="wifi",
    ),
    Guidance(
        code="wifi-slow",
        title=N_("Wi-Fi is very slow"),
        customer=N_("The Wi-Fi connection to {ssid} carries little: {rate_mbps} Mbit/s."),
        customer_does=N_("Go nearer to the router. Restart the router and this device."),
        technician=N_("{subject}: {rate_mbps} Mbit/s raw, sent and received."),
        technician_does=N_("Signal, interference, legacy rates, or a device of the nineties in the network."),
        command=LINK,
        guide="wifi",
    ),
    Guidance(
        code="wifi-crowded",
        title=N_("Too many Wi-Fi networks use the same channel"),
        customer=N_("Networks of the neighbours share the channel of yours, and each waits for the others."),
        customer_does=N_(
            "Use the router's 5 GHz network, if it has one; else restart the router, so that it chooses anew."
        ),
        technician=N_("Channel {channel} ({band} GHz): {networks} other networks, busy {percent} % of the time."),
        technician_does=N_("5 or 6 GHz; else the emptiest of channels 1, 6 and 11, 20 MHz wide."),
        command="nmcli device wifi list",
        guide="wifi",
    ),
    Guidance(
        code="wifi-open",
        title=N_("The Wi-Fi network is open to everybody nearby"),
        customer=N_("The network {ssid} is not protected: others nearby can see which pages you visit."),
        customer_does=N_(
            "In a café that is usual: use pages with a padlock only. At home, set a password in the router."
        ),
        technician=N_("{subject}: no encryption, or WEP, on {ssid}."),
        technician_does=N_("Set WPA2 or WPA3 with a password at the access point."),
        guide="wifi",
    ),
)
