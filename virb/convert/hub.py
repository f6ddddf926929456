"""``hf:NAME``: a network of the Hugging Face hub, fetched whole into the hub's own cache; ``hf:FOLDER`` is a folder.

The client is huggingface_hub, which timm needs too; transformers is not needed to read what it wrote.
"""

from __future__ import annotations

from pathlib import Path

from virb.convert.folder import CONFIGS, INDICES, WEIGHTS, check_config
from virb.errors import CheckpointError

PREFIX = "hf:"


def fetch(name: str) -> Path:
    """Return the folder of ``name`` (without ``hf:``): itself if it is one here, else the hub's, downloaded.

    Raises:
        CheckpointError: the hub cannot be reached, or has no such network with weights.
    """
    if Path(name).is_dir():
        return Path(name)
    import huggingface_hub

    try:
        files = huggingface_hub.HfApi().list_repo_files(name)
        chosen = next((weights for weights in (*INDICES, *WEIGHTS) if weights in files), None)
        if chosen is None:
            raise CheckpointError(
                f"{PREFIX}{name} has none of {', '.join((*WEIGHTS, *INDICES))} on the hub. Download its weights file and "
                "name that."
            )
        check_config(
            Path(huggingface_hub.snapshot_download(name, allow_patterns=list(CONFIGS)))
        )  # before gigabytes come
        patterns = [*CONFIGS, chosen]
        if chosen in INDICES:
            patterns.append(chosen.replace(".index.json", "").replace(".", "-*-of-*.", 1))
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns))
    except CheckpointError:
        raise
    except Exception as error:  # whatever the client raises: no network, no such name, a full disk
        reason = (str(error).strip().split("\n")[0] or type(error).__name__)[:300].rstrip(".")
        raise CheckpointError(
            f"{PREFIX}{name} could not be had: {reason}. Where there is no network, download the network's folder "
            f"(config.json, preprocessor_config.json and the weights) elsewhere and give it as {PREFIX}FOLDER."
        ) from error
