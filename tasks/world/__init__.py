"""The rendered world: small images of objects and rooms with exact labels, drawn on the CPU by ray casting.

    from virb.tasks import world
    rooms = world.load("rooms", "train")      # renders into the cache the first time
    rooms.images, rooms.annotation("depth_m")  # memory-mapped arrays

Everything is generated from a seed: nothing is downloaded and no licence applies. See ``SETS`` for what there is.
"""

from virb.tasks.world.sets import RENDER_VERSION, SEMANTIC_CLASSES, SETS, SetSpec
from virb.tasks.world.sheet import contact_sheet
from virb.tasks.world.store import WorldSet, load, status

__all__ = ["RENDER_VERSION", "SEMANTIC_CLASSES", "SETS", "SetSpec", "WorldSet", "contact_sheet", "load", "status"]
