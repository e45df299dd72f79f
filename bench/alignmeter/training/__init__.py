"""What every method is made of: models, optimizers, rollouts and the step's protocol."""
