"""What two programs must agree on: words, bytes, signatures and decisions about them.

Pure by rule: nothing here does I/O, reads a clock or draws a random number, except `system_clock`, which is
the one place where drivers get the time from. The rule is checked by import-linter (see pyproject.toml).
"""
