"""One module a command of `auxilio`: options and output. What the command does is in the modules above."""
