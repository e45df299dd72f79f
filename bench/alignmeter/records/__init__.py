"""What was found: types, their files, and the folder of a run."""
