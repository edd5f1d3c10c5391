"""What looks: each asks one thing of the network, within a deadline of its own, and never raises for what it sees."""
