"""What a run leaves behind for others to check: records, keys, the ledger of events, Pith records. Needs no model."""
