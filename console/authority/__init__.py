"""An organisation's authority: its role keys, charters, policies, and the ledger of what it issued."""
