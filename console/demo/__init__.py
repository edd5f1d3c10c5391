"""`auxilio demo`: relay, authority, technician and this machine as a device, each a real process, on loopback."""
