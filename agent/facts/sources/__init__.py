"""Impure: one `Source` per thing that can be asked. Each returns parsed values; the sections put them together."""
