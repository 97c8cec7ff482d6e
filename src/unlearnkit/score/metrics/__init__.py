"""The folder is the registry: every file here is one family of metrics, found by `unlearnkit.score.suite.metrics`."""
