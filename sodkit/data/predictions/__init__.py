"""Predictions on disk: JSON records, columns in ``.npz``, DOTA's zip."""
