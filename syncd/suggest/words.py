"""What columns are called in the tables of CRMs, in Spanish and English."""

from __future__ import annotations

import re
from typing import Final
from unicodedata import normalize

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def words(name: str) -> tuple[str, ...]:
    """The words of a column's name, without accents, in lower case: ``PrimerNombre`` and ``primer_nombre`` alike."""
    plain = "".join(character for character in normalize("NFD", name) if character.isascii())
    return tuple(re.findall(r"[a-z]+|[0-9]+", _CAMEL.sub(" ", plain).lower()))


DOCUMENT: Final = frozenset(
    [
        "documento",
        "document",
        "cedula",
        "nit",
        "dni",
        "identificacion",
        "rut",
        "curp",
        "vat",
        "ci",
        "tin",
    ]
)
FIRST_NAME: Final = frozenset({"first name", "firstname", "given name", "nombres", "primer nombre", "name first name"})
LAST_NAME: Final = frozenset(
    {
        "last name",
        "lastname",
        "surname",
        "family name",
        "apellido",
        "apellidos",
        "primer apellido",
        "name last name",
    }
)
FULL_NAME: Final = (
    "full name",
    "fullname",
    "nombre completo",
    "nombre y apellido",
    "contact name",
    "nombre cliente",
    "customer name",
    "nombre",
    "name",
)
"""The surest first: Odoo's ``name`` is the title of a deal, and its ``contact_name`` the person."""
MOBILE: Final = frozenset(["cel", "celular", "mobile", "movil", "cell", "cellphone", "whatsapp", "mobilephone"])
TELEPHONE: Final = MOBILE | {"phone", "telefono", "tel", "telephone", "fono", "fijo"}
NO_TELEPHONE: Final = frozenset(
    [
        "fax",
        "ext",
        "extension",
        "type",
        "tipo",
        "country",
        "calling",
        "code",
        "codigo",
        "indicativo",
        "verified",
        "verificado",
        "id",
        "opt",
    ]
)
EMAIL: Final = frozenset(["email", "correo", "mail"])
NO_EMAIL: Final = frozenset(
    [
        "opt",
        "verified",
        "verificado",
        "id",
        "type",
        "invalid",
        "domain",
        "normalized",
        "bounce",
        "state",
    ]
)
OTHERS: Final = {
    "id_type": ("id type", "tipo documento", "tipo de documento", "document type", "tipo identificacion"),
    "age": ("age", "edad"),
    "gender": ("gender", "genero", "sexo", "sex"),
    "country": ("country", "pais", "country name"),
    "state": ("departamento", "provincia", "province", "state name", "state province", "region"),
    "city": ("city", "ciudad", "municipio", "town", "localidad"),
    "zone": ("zone", "zona", "barrio", "neighborhood"),
    "address": ("address", "direccion", "street", "calle", "domicilio", "address street", "street address"),
}
"""wolkvox field: names that mean it. Words before them, as in ``primary_address_city``, change nothing."""
BEFORE: Final = frozenset(
    [
        "primary",
        "address",
        "mailing",
        "billing",
        "lead",
        "contact",
        "customer",
        "cliente",
        "contacto",
        "principal",
    ]
)

CHANGED: Final = frozenset(
    {
        "updated at",
        "updated on",
        "modified at",
        "modified on",
        "modified",
        "updated",
        "write date",
        "date modified",
        "last modified date",
        "last modified",
        "system modstamp",
        "modified date",
        "updated date",
        "fecha modificacion",
        "fecha actualizacion",
        "actualizado en",
        "actualizado",
        "modificado",
        "last update",
        "date updated",
    }
)
CREATED: Final = frozenset(
    {
        "created at",
        "created on",
        "created",
        "create date",
        "date entered",
        "created date",
        "fecha creacion",
        "fecha registro",
        "creado en",
        "creado",
        "date created",
        "inserted at",
    }
)
DELETED: Final = frozenset({"deleted", "is deleted", "deleted at", "eliminado", "borrado"})
ARCHIVED: Final = frozenset({"active", "is active", "activo"})
NOT_TO_CALL: Final = frozenset({"do not call", "no llamar", "opt out", "phone opt out", "is blacklisted", "blocked"})
CONSENT: Final = frozenset({"consent", "opt in", "habeas data", "autoriza", "autorizacion", "consentimiento"})
