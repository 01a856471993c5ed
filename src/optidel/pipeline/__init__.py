"""The only wiring: a recipe becomes steps, steps become artifacts."""
