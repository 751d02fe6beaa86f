"""Cost models of spaces that are known by their knobs alone, such as recorded GPU spaces."""
