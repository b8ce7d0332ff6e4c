"""What a request needs of a collection, looked up before its job starts."""

from __future__ import annotations

from difflib import get_close_matches

from syntype.apps.web.workspace import Workspace
from syntype.collection import Collection
from syntype.errors import InputError, shortened, shown_list

__all__ = ["require_photographs"]


def require_photographs(workspace: Workspace, slug: str, species: str) -> None:
    """Check that a collection has training photographs of a species.

    Raises:
        InputError: it has none; the message names the species that are spelt most alike.
    """
    collection = Collection.open(workspace.find("collections", slug), hashes=False)
    counts = collection.counts()
    if counts.get(species):
        if not collection.training().counts()[species]:
            reason = f"collection {slug!r} has no training photograph of {species}: those it has are kept for testing"
            raise InputError(reason, "Choose another species, or import more photographs of it.")
        return
    spelt = {name.casefold(): name for name, number in counts.items() if number}
    near = [spelt[name] for name in get_close_matches(species.casefold()[:100], spelt, n=3)]
    near += [name for key, name in spelt.items() if species.casefold() in key and name not in near][: 3 - len(near)]
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Its species are {shown_list(spelt.values(), 5)}."
    raise InputError(f"collection {slug!r} has no photograph of {shortened(species, 80)!r}", hint)
