"""Routes with which owners look after the accounts: who there is, invitations, roles, removal."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from syntype.apps.web.accounts import Person
from syntype.apps.web.api_verdicts import Reviewer
from syntype.apps.web.links import link_to, qr_code
from syntype.apps.web.roles import Role
from syntype.apps.web.studio import PROBLEMS, CurrentStudio, Studio

__all__ = ["router"]

router = APIRouter(prefix="/api/people", tags=["people"], responses=PROBLEMS)
PersonNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]
_DAY = 86400


class PersonShown(Person):
    """Somebody with an account.

    ``joined``: a password was chosen; ``link_until``: when the latest link expires, null if it was used; ``seen``: when a request came last, null if
    never; both in seconds since 1970. ``sessions``: browsers that are signed in; ``you``: it is the account that asks.
    """

    you: bool


class LinkWanted(BaseModel):
    """How long a link can be used."""

    days: int = Field(7, ge=1, le=90)


class Invitation(LinkWanted):
    """Whom to invite. Verdicts will be kept under the name."""

    name: Reviewer
    role: Role


class LinkMade(BaseModel):
    """A link with which a person chooses a password, once. It is shown only now. ``code``: its QR code, as an SVG.

    ``has_judged``: there are verdicts under this name already. They count as this person's.
    """

    person: PersonShown
    link: str
    code: str
    has_judged: bool


class NewRole(BaseModel):
    """What a person may do from now on."""

    role: Role


@router.get("")
def list_people(request: Request, studio: CurrentStudio) -> list[PersonShown]:
    """Everybody who has an account, by name."""
    return [_shown(request, person) for person in studio.accounts.list()]


@router.post("", status_code=201)
def invite(request: Request, studio: CurrentStudio, invitation: Invitation) -> LinkMade:
    """Make an account, and the link with which its password is chosen."""
    has_judged = studio.accounts.has_judged(invitation.name)
    number, secret = studio.accounts.invite(invitation.name, invitation.role, invitation.days * _DAY)
    return _made(request, studio, number, secret, has_judged=has_judged)


@router.post("/{number}/link", status_code=201)
def make_link(request: Request, studio: CurrentStudio, number: PersonNumber, wanted: LinkWanted) -> LinkMade:
    """Make another link for a person: the first was lost or has expired, or the password was forgotten. The link before is of no use afterwards."""
    return _made(request, studio, number, studio.accounts.new_link(number, wanted.days * _DAY), has_judged=False)


@router.post("/{number}/role")
def change_role(request: Request, studio: CurrentStudio, number: PersonNumber, new: NewRole) -> PersonShown:
    """Give a person another role. The person is signed out everywhere. The last owner keeps the role."""
    studio.accounts.set_role(number, new.role)
    return _shown(request, studio.accounts.find(number))


@router.delete("/{number}", status_code=204)
def remove_person(studio: CurrentStudio, number: PersonNumber) -> None:
    """Remove an account. Its sessions end at once, and its verdicts stay under its name. The last owner cannot be removed."""
    studio.accounts.remove(number)


@router.delete("/{number}/sessions", status_code=204)
def end_sessions(studio: CurrentStudio, number: PersonNumber) -> None:
    """Sign a person out everywhere. The password stays."""
    studio.accounts.end_sessions(studio.accounts.find(number).id)


def _made(request: Request, studio: Studio, number: int, secret: str, *, has_judged: bool) -> LinkMade:
    link = link_to(request, studio, f"/join#{secret}")
    person = _shown(request, studio.accounts.find(number))
    return LinkMade(person=person, link=link, code=qr_code(link).decode(), has_judged=has_judged)


def _shown(request: Request, person: Person) -> PersonShown:
    account = request.state.visitor.account
    return PersonShown(**vars(person), you=account is not None and account.person == person.id)
