"""On updates, restarts, and software that nobody repairs any more."""

from __future__ import annotations

from guidance.guidance import N_, Guidance

TEXTS = (
    Guidance(
        code="updates-security",
        title=N_("Security updates wait to be installed"),
        customer=N_("Updates that close security holes are not installed yet: {count}."),
        customer_does=N_("Install the updates that your device offers, and let it finish. Keep the charger in."),
        technician=N_("Security updates pending: {count} ({names})"),
        technician_does=N_("Install them. `auxilio show DEVICE updates` lists them."),
        command="apt-get -y dist-upgrade",
        guide="updates",
    ),
    Guidance(
        code="updates-pending",
        title=N_("Updates wait to be installed"),
        customer=N_("Updates that are not installed yet: {count}."),
        customer_does=N_("Install the updates that your device offers, when it suits you."),
        technician=N_("Updates pending that are not for security: {count} ({names})"),
        technician_does=N_("Install them. `auxilio show DEVICE updates` lists them."),
        command="apt-get -y dist-upgrade",
        guide="updates",
    ),
    Guidance(
        code="restart-required",
        title=N_("Updates need a restart"),
        customer=N_("Updates are installed, but work only after a restart."),
        customer_does=N_("Save what you are working on, and restart the device by its menu."),
        technician=N_("A restart is due: {reason}"),
        technician_does=N_("Agree on a time and restart it."),
        command="shutdown -r +5",
        script="reboot",
        guide="updates",
    ),
    Guidance(
        code="updates-stale",
        title=N_("This device has not looked for updates for {days} days"),
        customer=N_("Nobody knows which updates this device needs, because it has not looked for {days} days."),
        customer_does=N_("Connect the device to the internet and let it look for updates."),
        technician=N_("The lists of {subject} were fetched {days} days ago."),
        technician_does=N_("Refresh them, and find out why nothing does: a timer, a proxy, a repository that is gone."),
        command="apt-get update",
        guide="updates",
    ),
    Guidance(
        code="packages-broken",
        title=N_("Software is only half installed"),
        customer=N_("An installation was interrupted or failed. Until it is repaired, no updates can be installed."),
        technician=N_("Packages that are half there: {count} ({names})"),
        technician_does=N_("Finish the installation, then repair what it depends on."),
        command="dpkg --configure -a && apt-get -f install",
        guide="updates",
    ),
    Guidance(
        code="packages-held",
        title=N_("Some software is kept from being updated"),
        customer=N_("Somebody has set that some programs keep their version."),
        technician=N_("Packages that are held: {count} ({names})"),
        technician_does=N_("Ask why. They get no security updates either."),
        command="apt-mark showhold",
        guide="updates",
    ),
    Guidance(
        code="system-unsupported",
        title=N_("This device's system gets no updates any more"),
        customer=N_(
            "{name} has got no security updates since {date}. Holes that are found in it stay open, and new programs "
            "will stop working on it."
        ),
        customer_does=N_(
            "Ask your support organisation for a newer system, and do no banking on this device until then."
        ),
        technician=N_("{name}: free security updates ended on {date}."),
        technician_does=N_("Upgrade the system, or buy extended support; look at memory and disk first."),
        guide="old-system",
    ),
    Guidance(
        code="system-support-ends",
        title=N_("This device's system will get no updates in {days} days"),
        customer=N_("{name} gets security updates until {date} only."),
        customer_does=N_("Ask your support organisation for a newer system in good time."),
        technician=N_("{name}: free security updates end on {date}."),
        technician_does=N_("Plan the upgrade."),
        guide="old-system",
    ),
    Guidance(
        code="software-abandoned",
        title=N_("A program is installed that nobody repairs any more"),
        customer=N_("{subject} has been given up by its maker. Criminals use its holes."),
        customer_does=N_("Remove {subject}, unless you know that you need it."),
        technician=N_("{subject}: no updates since {date}."),
        technician_does=N_("Remove it, or find what still needs it."),
        guide="old-system",
    ),
    Guidance(
        code="antivirus-several",
        title=N_("Several antivirus programs get in each other's way"),
        customer=N_(
            "These antivirus programs are installed: {names}. Together they make this device slow and protect it less."
        ),
        customer_does=N_("Keep one of them and remove the others. Restart the device afterwards."),
        technician=N_("{count} programs that scan on access: {names}"),
        technician_does=N_("Remove all but one with their makers' removal tools."),
        guide="slow",
    ),
)
