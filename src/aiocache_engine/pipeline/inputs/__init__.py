"""Requirements as people write them: texts, requirements files, constraints and lock files."""
