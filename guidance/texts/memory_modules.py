"""On memory modules: what is in the slots, how it runs, what is missing, what failed."""

from __future__ import annotations

from guidance.guidance import N_, Guidance

TEXTS = (
    Guidance(
        code="memory-pressure",
        title=N_("Programs wait for memory"),
        customer=N_("Programs stand still for {stalled} % of the time because memory is short."),
        customer_does=N_("Close programs and browser pages that you do not need, or restart the device."),
        technician=N_("Some program stalled {stalled} %, all of them {stuck} % of the last five minutes (PSI)."),
        technician_does=N_("Find what takes the memory; more memory may help."),
        command="cat /proc/pressure/memory; ps aux --sort=-rss | head",
        guide="memory",
    ),
    Guidance(
        code="memory-expandable",
        title=N_("Memory can be added"),
        customer=N_("This device has {size} of memory and room for more: it can be made faster at little cost."),
        technician=N_("{size} installed, free slots: {free}. The section on memory says which module fits."),
        technician_does=N_("If memory is short, add a module; see what is said not to be certain before buying."),
        command="dmidecode -t memory",
        guide="memory-modules",
    ),
    Guidance(
        code="memory-speeds-differ",
        title=N_("Memory modules of different speed"),
        customer=N_("The memory modules do not match. They work, all as slowly as the slowest of them."),
        technician=N_("Rated from {slowest} to {fastest} MT/s: all run at the slowest one's."),
        technician_does=N_("Replace the slowest if speed matters, and look here first if the device crashes."),
        guide="memory-modules",
    ),
    Guidance(
        code="memory-slow",
        title=N_("Memory runs slower than it could"),
        customer=N_("The memory is built to be faster than it runs now. Nothing is broken."),
        technician=N_("{now} MT/s where every module is rated {rated}: the processor's limit, or a firmware setting."),
        technician_does=N_("Compare with the processor's fastest; then look in the firmware for the memory's profile."),
        guide="memory-modules",
    ),
    Guidance(
        code="memory-single-channel",
        title=N_("Only one memory module"),
        customer=N_("Memory comes in pairs for speed, and this device has one module of {size}. It works."),
        technician=N_("One module of {size}: one channel, half the bandwidth, which integrated graphics feel most."),
        technician_does=N_("Add a module of the same size in the other channel."),
        guide="memory-modules",
    ),
    Guidance(
        code="memory-sizes-differ",
        title=N_("Memory modules of different size"),
        customer=N_("The two memory modules are not alike ({smaller} and {larger}). They work, partly slower."),
        technician=N_("{smaller} and {larger}: only twice the smaller one runs in two channels."),
        technician_does=N_("Nothing, unless graphics or calculations are slow."),
        guide="memory-modules",
    ),
    Guidance(
        code="memory-32-bit",
        title=N_("The system cannot use all of the memory"),
        customer=N_("{installed} of memory are in this device, and its system can use {total} of them."),
        technician=N_("A 32-bit system sees {total} of {installed}."),
        technician_does=N_("Install a 64-bit system if the processor can run one."),
        command="lscpu | grep -i mode",
    ),
    Guidance(
        code="memory-missing",
        title=N_("Part of the memory is missing"),
        customer=N_("{installed} of memory are in this device, but only {total} can be used."),
        customer_does=N_("Tell your support organisation: a module may be loose or broken."),
        technician=N_(
            "{missing} of {installed} are not seen: a failed module, or kept back for graphics or by firmware."
        ),
        technician_does=N_(
            "Look at the firmware's settings for graphics; then reseat the modules and test each alone."
        ),
        command="dmesg | grep -i memory | head",
        guide="memory-modules",
    ),
    Guidance(
        code="memory-module-silent",
        title=N_("A memory module does not come up"),
        customer=N_("There is a memory module in slot {subject} that the device does not use."),
        customer_does=N_("Tell your support organisation: it may be loose or broken."),
        technician=N_(
            "{subject}: counted as empty, but names {maker} {part}; disabled by firmware, failed, or not fitting."
        ),
        technician_does=N_("Reseat it, try it in another slot, and look in the firmware's log."),
        command="dmidecode -t memory",
        guide="memory-modules",
    ),
    Guidance(
        code="memory-errors",
        title=N_("The memory makes errors"),
        customer=N_("The memory of this device makes errors that cannot be repaired: files may be damaged."),
        customer_does=N_("Save your work, and let the memory be replaced before you go on."),
        technician=N_("Uncorrected ECC errors since the start: {count}."),
        technician_does=N_("Replace the module; check file systems and databases afterwards."),
        command="grep . /sys/devices/system/edac/mc/mc*/*count /sys/devices/system/edac/mc/mc*/*/*count",
        guide="memory-modules",
    ),
    Guidance(
        code="memory-errors-corrected",
        title=N_("The memory makes errors that are still corrected"),
        customer=N_("A memory module begins to fail. Nothing is lost yet."),
        technician=N_("Corrected ECC errors since the start: {count}."),
        technician_does=N_("Plan to replace the module; watch whether the count grows."),
        command="grep . /sys/devices/system/edac/mc/mc*/*count /sys/devices/system/edac/mc/mc*/*/*count",
        guide="memory-modules",
    ),
    Guidance(
        code="memory-ecc-unused",
        title=N_("ECC modules that do not guard"),
        customer=N_("The memory could notice its own errors, and is not asked to. Nothing is broken."),
        technician=N_("All {modules} modules have check bits, and the controller does not use them."),
        technician_does=N_("Look in the firmware for ECC; many boards take such modules and ignore it."),
        guide="memory-modules",
    ),
)
