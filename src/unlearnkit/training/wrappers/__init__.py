"""Ways to take an objective's step: `--wrap sam`, `--wrap gru`. One file each; the folder is the registry."""
