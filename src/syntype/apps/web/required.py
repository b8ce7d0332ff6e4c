"""What a request needs of a collection, looked up before its job starts."""

from __future__ import annotations

from difflib import get_close_matches
from functools import reduce

from syntype.apps.web.languages import gettext
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
            reason = gettext(
                "collection {name} has no training photograph of {species}: those it has are kept for testing", name=repr(slug), species=species
            )
            raise InputError(reason, gettext("Choose another species, or import more photographs of it."))
        return
    spelt = {name.casefold(): name for name, number in counts.items() if number}
    near = [spelt[name] for name in get_close_matches(species.casefold()[:100], spelt, n=3)]
    near += [name for key, name in spelt.items() if species.casefold() in key and name not in near][: 3 - len(near)]
    if near:
        names = reduce(lambda first, second: gettext("{first} or {second}", first=first, second=second), near)
        hint = gettext("Did you mean {names}?", names=names)
    else:
        hint = gettext("Its species are {names}.", names=shown_list(spelt.values(), 5))
    raise InputError(gettext("collection {name} has no photograph of {species}", name=repr(slug), species=repr(shortened(species, 80))), hint)
