"""How the build's work is cut up, counted and run."""
