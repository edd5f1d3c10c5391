"""The device's side of a session: the desk decides, the broker starts the child, the child speaks SSH."""
