"""How `make_models.py` builds, fills, saves and runs the reference models; one module for each family."""
