"""What the ranking of methods on the embedded world is compared with, and how."""
