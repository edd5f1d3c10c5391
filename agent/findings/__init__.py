"""What is wrong with this device, from its facts: rules, each pure. What they mean to people is in `guidance`."""
