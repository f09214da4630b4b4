"""Answers of models and tools that are known already."""
