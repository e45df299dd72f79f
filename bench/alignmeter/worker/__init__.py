"""Inside the forked process: models, steps, and all that is read beside them."""
