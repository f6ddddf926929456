"""Copy detection (Douze et al. 2009): which photograph an altered copy was made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import copydays
    from virb.tasks.readers.common import place

    return copydays.copies(place(context, "copydays", folder="copydays"), split)


TASK = Task(
    name="copydays",
    summary="which photograph a strongly altered copy was made of",
    category=Category.SEMANTIC_IMAGE,
    head="retrieve",
    loss="",
    metric="retrieval_map",
    data=data,
    protocol=Protocol(epochs=1),
    is_optional=True,
    source="INRIA Copydays, Douze et al. 2009",
    license="none stated (research use)",
    obtain=(
        "extract copydays_original.tar.gz and copydays_strong.tar.gz (INRIA; dl.fbaipublicfiles.com/vissl/datasets) so that "
        "their images lie in copydays/original/ and copydays/strong/ of the data folder. Those of copydays/distractors/ are searched too."
    ),
    n_examples={"test": 229},
    deviations=(
        "The strong copies alone are looked for; the set also has copies cut to a size (crops) or saved at a quality (jpegqual).",
        (
            "Without a folder distractors/ 157 photographs are searched, as by DINO's code without its options; its paper adds "
            "10,000 of YFCC100M and whitens with 20,000 others. Beside a score, say how many were searched (n_train)."
        ),
        (
            "The whole ranking counts; DINO looks at the first 20. Images are resized to the encoder's size (DINO: 320), and the "
            "descriptor is the encoder's embedding; DINO joins its class token and the generalised mean of the patches."
        ),
    ),
)
