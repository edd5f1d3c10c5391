"""What a device's sections look like to a person: one module a section."""
