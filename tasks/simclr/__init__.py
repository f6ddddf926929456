"""The end tasks of SimCLR (Chen et al. 2020, Appendix B.8): twelve sets of images."""
