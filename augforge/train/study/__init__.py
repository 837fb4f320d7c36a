"""Studies of several training runs: which dataset is better, which labels are bad."""
