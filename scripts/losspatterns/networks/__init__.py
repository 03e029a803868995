"""Networks as ordinary torch modules and as functions of one flat weight vector."""
