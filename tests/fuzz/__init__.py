"""Fuzzing: seeded damage, what it is done to, and a process that tries it."""
