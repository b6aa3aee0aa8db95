"""The object `site.json`: which site a store belongs to (design 4: nothing is cleared while it is not ours)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from winslow.errors import Conflict, InvalidInput
from winslow.project import SCHEMA, check_schema
from winslow.store import layout
from winslow.store.conditional import JSON
from winslow.store.port import ObjectStore


class Site(BaseModel):
    """A store's own random id, the same for its whole life."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, serialize_by_alias=True)

    schema_: int = Field(default=SCHEMA, alias="schema")
    id: str = Field(min_length=8)


def read_site(store: ObjectStore) -> Site:
    """Raises NotFound where no site was made yet, InvalidInput for an object that is damaged or of a newer Winslow,
    Unreachable."""
    try:
        site = Site.model_validate_json(store.get(layout.SITE).data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise InvalidInput(
            f"{store}: {layout.SITE} is damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}"[:400],
            hint="put it back from a backup: it says which site the store belongs to",
        ) from error
    check_schema(site.schema_, key=f"{store}: {layout.SITE}")
    return site


def ensure_site(store: ObjectStore, *, new_id: str) -> Site:
    """The store's site, made with the random `new_id` where there is none yet; whoever comes first decides.

    Calling it again after StoreUnreachable is safe.
    """
    site = Site(id=new_id)
    try:
        store.put(
            layout.SITE, (site.model_dump_json() + "\n").encode(), if_none_match=True, content_type=JSON
        )
    except Conflict:
        return read_site(store)
    return site
