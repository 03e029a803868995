"""The paper's figures, one module each: surfaces or scores in, a matplotlib `Figure` out; `style.save_figure` writes it."""
