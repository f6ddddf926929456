"""The end tasks of Hammoud et al. 2024 (Sections 5 and 6)."""
