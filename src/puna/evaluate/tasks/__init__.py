"""Tasks, a file for each family of benchmarks; each file has the tasks of all protocols in `TASKS`."""
