"""The papers' claims as commands: one file a claim, found by looking; each runs, draws, and says whether it held."""
