"""How packaging systems other than Debian's order versions. Pure; each `compare` takes any text and never raises."""
