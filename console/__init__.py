"""The console: the `auxilio` command, on the technician's own machine."""
