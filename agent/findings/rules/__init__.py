"""The rules, a module for each part of the machine. Each is a generator: facts in, findings out."""
