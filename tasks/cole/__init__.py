"""The end tasks of Cole et al. 2022: four sets of a million images."""
