"""What the claims on the embedded world share: cells that make its models, and cells that unlearn there."""
