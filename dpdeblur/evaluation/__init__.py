"""Scoring results against references: data sets, metrics as the papers have them, tables, contact sheets and plots."""
