"""The sections of a report: what a device says about itself, one module a section."""
