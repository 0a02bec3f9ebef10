"""Python's collector of cyclic garbage, kept away from what a process has for good. Knows no request."""

import gc


def spare_what_is_here() -> None:
    """Collects once; from then on full collections pass over everything that is here now.

    A process that has imported torch holds some hundred thousand objects. A full collection that looks at all of them
    holds the interpreter's lock for a tenth of a second and more, and every answer waits. To be called once all models
    are loaded. What is spared is still freed when its last reference goes, as a model's is when it is unloaded.
    """
    gc.collect()
    gc.freeze()
