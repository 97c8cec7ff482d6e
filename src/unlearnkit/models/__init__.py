"""Loading a model, the one forward pass that training and measuring share, and the reference."""
