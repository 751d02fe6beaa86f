"""Which candidates to measure next: searchers, batch selection, the tuning loop and its journal."""
