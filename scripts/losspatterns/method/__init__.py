"""The method (the paper's section 3), read top to bottom: objective, plane, origin, update, training, surface."""
