"""Recipes: how a corpus of many domains is made, and who plays it."""
