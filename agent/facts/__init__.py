"""What the device finds out about itself, in layers, each its own place.

    sources/    impure: one `Source` per thing that can be asked, with what it needs and how long it may take
    parsers/    pure: texts and tables to frozen Structs
    sections.py which sources a section asks, and how their answers become it
    steady.py   pure: keeps what moves all the time from changing a section all the time
    collect.py  runs sections aside, and measures what they cost

A source that hangs, fails or does not exist costs its own answer, with the reason, and no other's.
"""
