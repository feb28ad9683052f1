"""Class names as people have them: text, tables, JSON, YAML, a training folder. What is not sure is refused."""
