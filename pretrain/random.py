"""Random initialisation, nothing trained: the floor (default weights and batch normalisation statistics)."""

from virb.contracts.method import Method

METHOD = Method(
    name="random",
    role="untrained",
    source="He et al. 2015, Delving Deep into Rectifiers (ICCV): the initialisation",
)
