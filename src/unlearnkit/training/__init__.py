"""Training: one trainer for every objective, whose numbers do not depend on how a step is cut."""
