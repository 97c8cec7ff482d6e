"""What is to be forgotten, what kept, what asked: one file a data set, found by its name."""
