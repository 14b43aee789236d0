"""How the work of a build is divided into tasks, counted and run."""
