"""Why the internet does not work: probes look, the judge decides which rung is broken."""
