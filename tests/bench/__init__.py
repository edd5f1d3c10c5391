"""`make bench`: what Auxilio costs and how fast it is, each figure beside a peer's in the same run. See docs/bench.md.

ours.py  openssh.py  meshcentral.py     the ways to a device, each set up from nothing, on loopback, ended by pid
opening.py  keys.py  bulk.py  copies.py  devices.py  idle.py      what is measured, exactly
rows.py  processes.py                   what comes out, and what /proc says
"""
