"""What claims on TOFU itself share: small models, trained where none are given, and cells that unlearn there."""
