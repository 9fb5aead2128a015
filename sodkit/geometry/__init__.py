"""Pure functions on arrays of boxes; the angle convention lives here and nowhere else."""
