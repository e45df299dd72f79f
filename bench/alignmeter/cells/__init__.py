"""What is asked: axes, cells, and the matrices that list them."""
