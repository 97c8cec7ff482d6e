"""Spec in, results out: where tasks, models, training, measuring and scoring are put together."""
