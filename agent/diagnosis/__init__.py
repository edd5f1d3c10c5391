"""Looking at this device now: with or without a relay, with the rights of whoever asks."""
