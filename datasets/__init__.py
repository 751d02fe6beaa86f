"""Measured runtimes: what a record is, where records live, and how they become training data."""
