"""Which sources each section asks, and how their answers become it: one module a section."""
