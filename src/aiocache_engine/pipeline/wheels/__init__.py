"""Read a wheel, strictly: one way to understand the zip file, and every rule of the wheel format."""
