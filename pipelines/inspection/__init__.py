"""Looking at a dataset: verification, tables, episodes, the report page."""
