"""Several trainings: which dataset helped, which labels are bad."""
