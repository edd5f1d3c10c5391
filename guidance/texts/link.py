"""On the cable, the adapter and the device's address."""

from __future__ import annotations

from guidance.guidance import N_, Guidance

TEXTS = (
    Guidance(
        code="no-adapter",
        title=N_("This device has no network adapter"),
        customer=N_(
            "No network adapter was found in this device. It may be switched off, broken, or without its driver."
        ),
        customer_does=N_(
            "Is there a switch or key for the wireless network? Switch it on. Put an external adapter in again."
        ),
        technician=N_("No interface but the loopback's is known to the system."),
        technician_does=N_("Look for the adapter on PCI and USB, and for a driver that is missing."),
        command="lspci -nnk; lsusb; dmesg | tail -50",
        guide="adapter",
    ),
    Guidance(
        code="link-down",
        title=N_("The network cable is out, or the wireless network is off"),
        customer=N_("This device is not connected to any network: nothing answers at the other end of {interface}."),
        customer_does=N_(
            "Put the network cable in again at both ends, or switch the Wi-Fi on and choose your network."
        ),
        technician=N_("{interface} has no carrier, and no other adapter has."),
        technician_does=N_("Check cable, switch port and rfkill."),
        command="ip -br link; rfkill list",
        script="reset-network",
        guide="adapter",
    ),
    Guidance(
        code="no-address",
        title=N_("The device was given no address"),
        customer=N_("The cable or Wi-Fi works, but the router gave this device no address in the network."),
        customer_does=N_("Switch your router off, wait ten seconds, and switch it on again."),
        technician=N_("{interface} is up and has no usable address: no DHCP server answered, or none was asked."),
        technician_does=N_("Ask for a lease by hand; look at the router's DHCP server and its pool."),
        command="journalctl -b -u NetworkManager -u systemd-networkd | tail -50",
        script="renew-dhcp",
        guide="router",
    ),
    Guidance(
        code="address-self-assigned",
        title=N_("The device gave itself an address"),
        customer=N_(
            "No router answered, so this device gave itself the address {address}, with which it reaches nobody."
        ),
        customer_does=N_("Switch your router off, wait ten seconds, and switch it on again."),
        technician=N_("{interface} has the link-local address {address} (RFC 3927): no DHCP server answered."),
        technician_does=N_("Ask for a lease by hand; look at the router's DHCP server and its pool."),
        command="journalctl -b -u NetworkManager -u systemd-networkd | tail -50",
        script="renew-dhcp",
        guide="router",
    ),
    Guidance(
        code="address-duplicate",
        title=N_("Another device uses the same address"),
        customer=N_("Two devices in your network have the address {address}, so neither works well."),
        customer_does=N_("Switch this device's network off and on again. If it lasts, restart the router."),
        technician=N_("Another machine answers for {address}."),
        technician_does=N_("Find it by its hardware address; one of the two has a fixed address inside the DHCP pool."),
        command="ip neigh",
        script="renew-dhcp",
        guide="router",
    ),
)
