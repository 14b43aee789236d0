"""Several devices: the mesh, the layouts, recomputation and compilation, applied to the model from outside."""
