"""The texts, a module for each part of the machine."""
