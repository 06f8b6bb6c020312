"""The lead tables of real CRMs: their names and types are facts, the rest is made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.shapes.people import PEOPLE, Person

Rows = list[tuple[str, dict[str, Any]]]
"""Table and columns of rows to insert, in their order."""


@dataclass(frozen=True)
class Own:
    """Rows that only this CRM has, which are one lead, and what is made of it: a record, a rejection, or no lead."""

    rows: Rows
    sent: dict[str, str] = field(default_factory=dict)
    rejected: tuple[str, str] | None = None


@dataclass(frozen=True)
class Shape:
    """One CRM."""

    ddl: str
    key: Callable[[int], str]
    """The key of the n-th lead, as text."""
    place: Callable[[int, Person], Rows]
    """The rows of a person that is the n-th lead."""
    own: Mapping[str, Own]
    before: Rows = field(default_factory=list)
    """What other tables hold already."""
    spreads: bool = True
    """Whether several numbers in a cell are taken; else they are a fault."""
    customer_id: Callable[[str], str] = str
    """What the record has for a key, where a row gives nothing else."""


def _full(person: Person) -> str:
    return " ".join(part for part in (person.given, person.surname) if part)


# -- EspoCRM -------------------------------------------------------------------------------------------------

ESPO_DDL = """
CREATE TABLE public.lead (
    id varchar(17) PRIMARY KEY, deleted boolean NOT NULL DEFAULT false, salutation_name varchar(255),
    first_name varchar(100), last_name varchar(100), middle_name varchar(100), title varchar(100),
    status varchar(255) DEFAULT 'New', source varchar(255), industry varchar(255),
    opportunity_amount double precision, opportunity_amount_currency varchar(3), website varchar(255),
    address_street varchar(255), address_city varchar(100), address_state varchar(100), address_country varchar(100),
    address_postal_code varchar(40), do_not_call boolean NOT NULL DEFAULT false, description text,
    converted_at timestamp(0), account_name varchar(255), created_at timestamp(0) DEFAULT '2030-01-02 03:04:00',
    modified_at timestamp(0) DEFAULT now(), created_by_id varchar(17), assigned_user_id varchar(17)
);
CREATE INDEX ON public.lead (modified_at);
CREATE TABLE public.phone_number (
    id varchar(17) PRIMARY KEY, name varchar(36), deleted boolean DEFAULT false, type varchar(255),
    "numeric" varchar(36), invalid boolean NOT NULL DEFAULT false, opt_out boolean NOT NULL DEFAULT false
);
CREATE TABLE public.entity_phone_number (
    id bigserial PRIMARY KEY, entity_id varchar(17), phone_number_id varchar(17), entity_type varchar(100),
    "primary" boolean DEFAULT false, deleted boolean DEFAULT false
);
CREATE TABLE public.email_address (
    id varchar(17) PRIMARY KEY, name varchar(255), deleted boolean DEFAULT false, lower varchar(255),
    invalid boolean NOT NULL DEFAULT false, opt_out boolean NOT NULL DEFAULT false
);
CREATE TABLE public.entity_email_address (
    id bigserial PRIMARY KEY, entity_id varchar(17), email_address_id varchar(17), entity_type varchar(100),
    "primary" boolean DEFAULT false, deleted boolean DEFAULT false
);
"""


def _espo_key(number: int) -> str:
    return f"{number:017}"


def _espo_phone(
    number: int, text: str, *, primary: bool = False, entity: str = "Lead", at: int = 0, **more: Any
) -> Rows:
    own = f"p{number:03}-{at}-{entity}"
    return [
        ("public.phone_number", {"id": own, "name": text, "type": "Mobile", **more}),
        (
            "public.entity_phone_number",
            {"entity_id": _espo_key(number), "phone_number_id": own, "entity_type": entity, "primary": primary},
        ),
    ]


def _espo(number: int, person: Person, **more: Any) -> Rows:
    lead = {"first_name": person.given, "last_name": person.surname, "address_city": person.city}
    rows: Rows = [("public.lead", {"id": _espo_key(number), **lead, **more})]
    if person.phone is not None:
        rows += _espo_phone(number, person.phone, primary=True)
    if person.email:
        own = f"e{number:03}"
        link = {"entity_id": _espo_key(number), "email_address_id": own, "entity_type": "Lead", "primary": True}
        rows += [("public.email_address", {"id": own, "name": person.email}), ("public.entity_email_address", link)]
    return rows


_ANA = Person("Ana", "Prueba", None)

ESPO = Shape(
    ESPO_DDL,
    _espo_key,
    _espo,
    {
        "several numbers, the primary one first": Own(
            [
                *_espo(101, _ANA),
                *_espo_phone(101, "3000000021", at=1),
                *_espo_phone(101, "+573000000022", primary=True, at=2),
                *_espo_phone(101, "573000000021", at=3),
            ],
            {"tel1": "93000000022", "tel2": "93000000021", "tel3": ""},
        ),
        "an invalid number, one of somebody else": Own(
            [
                *_espo(102, _ANA),
                *_espo_phone(102, "3000000023", primary=True, invalid=True),
                *_espo_phone(102, "3000000024", entity="Contact"),
            ],
            rejected=("", "telephone"),
        ),
        "must not be called": Own(_espo(103, PEOPLE["plain"], do_not_call=True)),
        "deleted": Own(_espo(104, PEOPLE["plain"], deleted=True)),
        "converted": Own(_espo(105, PEOPLE["plain"], status="Converted")),
        "all its fields": Own(
            _espo(
                106,
                PEOPLE["plain"],
                account_name="Cuenta S.A.",
                website="example.com",
                source="Web Site",
                opportunity_amount=1234567.5,
                address_street="Calle 5\n# 4-3",
                address_postal_code="110111",
                description="x" * 300,
            ),
            {
                "opt1": "Cuenta S.A.",
                "opt2": "web",
                "opt3": "1234568",
                "opt4": "01/01/2030 22:04",
                "address": "Calle 5 # 4-3, 110111",
                "opt7": "x" * 200,
            },
        ),
        "another source, no account": Own(
            _espo(107, PEOPLE["plain"], website="example.com", source="Feria"), {"opt1": "example.com", "opt2": "otro"}
        ),
    },
)

# -- SuiteCRM ------------------------------------------------------------------------------------------------

SUITE_DDL = """
CREATE TABLE public.leads (
    id char(36) PRIMARY KEY, date_entered timestamp, date_modified timestamp DEFAULT now(), modified_user_id char(36),
    created_by char(36), description text, deleted smallint DEFAULT 0, assigned_user_id char(36),
    salutation varchar(255), first_name varchar(100), last_name varchar(100), title varchar(100),
    do_not_call varchar(1) DEFAULT '0', phone_home varchar(100), phone_mobile varchar(100), phone_work varchar(100),
    phone_other varchar(100), primary_address_street varchar(150), primary_address_city varchar(100),
    primary_address_state varchar(100), primary_address_country varchar(255), lead_source varchar(100),
    status varchar(100) DEFAULT 'New', account_name varchar(255), birthdate date
);
CREATE INDEX ON public.leads (date_modified);
CREATE TABLE public.leads_cstm (id_c char(36) PRIMARY KEY, document_c varchar(255), vip_c smallint DEFAULT 0);
CREATE TABLE public.email_addresses (
    id char(36) PRIMARY KEY, email_address varchar(255), email_address_caps varchar(255),
    invalid_email smallint DEFAULT 0, opt_out smallint DEFAULT 0, deleted smallint DEFAULT 0
);
CREATE TABLE public.email_addr_bean_rel (
    id char(36) PRIMARY KEY, email_address_id char(36), bean_id char(36), bean_module varchar(100),
    primary_address smallint DEFAULT 0, deleted smallint DEFAULT 0
);
"""


def _suite_key(number: int) -> str:
    return str(UUID(int=number))


def _suite_email(number: int, text: str, *, at: int = 0, primary: int = 1, **more: Any) -> Rows:
    own = str(UUID(int=number * 1000 + at))
    link = {"bean_id": _suite_key(number), "bean_module": "Leads", "primary_address": primary, **more}
    return [
        ("public.email_addresses", {"id": own, "email_address": text}),
        ("public.email_addr_bean_rel", {"id": own, "email_address_id": own, **link}),
    ]


def _suite(number: int, person: Person, **more: Any) -> Rows:
    lead = {
        "id": _suite_key(number),
        "first_name": person.given,
        "last_name": person.surname,
        "primary_address_city": person.city,
        "phone_mobile": person.phone,
    }
    rows: Rows = [("public.leads", lead | more)]
    return rows + (_suite_email(number, person.email) if person.email else [])


def _custom(number: int, **columns: Any) -> Rows:
    return [("public.leads_cstm", {"id_c": _suite_key(number), **columns})]


SUITE = Shape(
    SUITE_DDL,
    _suite_key,
    _suite,
    {
        "custom fields": Own(
            [*_suite(101, PEOPLE["plain"]), *_custom(101, document_c=" 1.020.304 ", vip_c=1)],
            {"customer_id": "1.020.304", "opt4": "VIP"},
        ),
        "an empty document, no VIP": Own(
            [*_suite(102, PEOPLE["plain"]), *_custom(102, document_c="")],
            {"customer_id": _suite_key(102), "opt4": "", "opt2": "otro", "opt3": ""},
        ),
        "a document with a comma": Own(
            [*_suite(103, PEOPLE["plain"]), *_custom(103, document_c="1,020")], rejected=("customer_id", "comma")
        ),
        "three telephones, two of them the same": Own(
            _suite(104, _ANA, phone_mobile="3000000021", phone_work="601 2345678", phone_home="+57 300 0000021"),
            {"tel1": "93000000021", "tel5": "96012345678", "tel6": ""},
        ),
        "a wrong second telephone": Own(
            _suite(105, _ANA, phone_mobile="3000000022", phone_work="extensión"), {"tel1": "93000000022", "tel5": ""}
        ),
        "no mobile, but a fixed line": Own(_suite(106, _ANA, phone_work="(601) 234 5678"), {"tel1": "96012345678"}),
        "several e-mails": Own(
            [
                *_suite(107, PEOPLE["no e-mail"]),
                *_suite_email(107, "otra@example.com", at=1, primary=0),
                *_suite_email(107, "Primera@example.com", at=2),
                *_suite_email(107, "borrada@example.com", at=3, deleted=1),
            ],
            {"email": "primera@example.com"},
        ),
        "must not be called": Own(_suite(108, PEOPLE["plain"], do_not_call="1")),
        "a flag that is not set": Own(_suite(109, PEOPLE["plain"], do_not_call=None), {"tel1": "93000000001"}),
        "deleted": Own(_suite(110, PEOPLE["plain"], deleted=1)),
        "birthday": Own(_suite(111, PEOPLE["plain"], birthdate="1990-02-28"), {"opt3": "28/02/1990"}),
    },
)

# -- Odoo ----------------------------------------------------------------------------------------------------

ODOO_DDL = """
CREATE TABLE public.res_country (id serial PRIMARY KEY, code varchar(2), name jsonb, phone_code int);
CREATE TABLE public.crm_stage (id serial PRIMARY KEY, sequence int, name jsonb, is_won boolean);
CREATE TABLE public.crm_lead (
    id serial PRIMARY KEY, name varchar NOT NULL DEFAULT 'Formulario web', contact_name varchar, partner_name varchar,
    email_from varchar, phone varchar, mobile varchar, phone_sanitized varchar, street varchar, street2 varchar,
    city varchar, zip varchar, country_id int REFERENCES public.res_country, state_id int, stage_id int, user_id int,
    team_id int, source_id int, type varchar NOT NULL DEFAULT 'lead', active boolean DEFAULT true, priority varchar,
    expected_revenue numeric, probability double precision, date_deadline date, description text,
    lead_properties jsonb, create_date timestamp, write_date timestamp DEFAULT now()
);
CREATE INDEX ON public.crm_lead (write_date);
"""


def _odoo(number: int, person: Person, **more: Any) -> Rows:
    lead = {
        "id": number,
        "contact_name": _full(person),
        "mobile": person.phone,
        "email_from": person.email,
        "city": person.city,
    }
    return [("public.crm_lead", lead | more)]


ODOO = Shape(
    ODOO_DDL,
    str,
    _odoo,
    {
        "a country of its own": Own(_odoo(101, _ANA, mobile="55 1234 5678", country_id=2), rejected=("tel1", "phone")),
        "a country that is not there": Own(
            _odoo(102, _ANA, mobile="3000000021", country_id=None, stage_id=99), {"country": "", "opt1": ""}
        ),
        "country and stage by name": Own(
            _odoo(103, _ANA, mobile="3000000022", country_id=1, stage_id=1), {"country": "Colombia", "opt1": "New"}
        ),
        "double surnames": Own(
            _odoo(104, _ANA, contact_name="María del Carmen Prueba de la Torre", mobile="3000000023"),
            {"customer_name": "María del Carmen", "customer_last_name": "Prueba de la Torre"},
        ),
        "a company without a contact": Own(
            _odoo(105, _ANA, contact_name="", partner_name="Cuenta", mobile="3000000024"), {"customer_name": "Cuenta"}
        ),
        "an address of e-mail with its name": Own(
            _odoo(106, PEOPLE["plain"], email_from='"Ana Prueba" <Ana@Example.com>'), {"email": "ana@example.com"}
        ),
        "an opportunity": Own(_odoo(107, PEOPLE["plain"], type="opportunity")),
        "archived": Own(_odoo(108, PEOPLE["plain"], active=False)),
        "HTML, revenue, priority, deadline": Own(
            _odoo(
                109,
                PEOPLE["plain"],
                description="<p>Quiere&nbsp;<b>dos</b></p><p>casas</p>",
                expected_revenue="1500000.00",
                priority="3",
                date_deadline="2030-03-01",
            ),
            {"opt7": "Quiere dos casas", "opt3": "1500000", "opt2": "muy alta", "opt4": "01/03/2030"},
        ),
        "revenue that is no number, a deadline at the end of time": Own(
            _odoo(110, PEOPLE["plain"], expected_revenue="NaN", date_deadline="infinity"), {"opt3": "", "opt4": ""}
        ),
        "a fixed line beside the mobile": Own(
            _odoo(111, _ANA, mobile="3000000025", phone="601 2345678"), {"tel1": "93000000025", "tel5": "96012345678"}
        ),
    },
    [
        ("public.res_country", {"id": 1, "code": "CO", "name": '{"en_US": "Colombia", "es_CO": "Colombia"}'}),
        ("public.res_country", {"id": 2, "code": "MX", "name": '{"en_US": "Mexico", "es_CO": "México"}'}),
        ("public.crm_stage", {"id": 1, "sequence": 1, "name": '{"en_US": "New", "es_CO": "Nueva"}'}),
    ],
    customer_id="odoo-{}".format,
)

# -- Twenty --------------------------------------------------------------------------------------------------

_WORKSPACE = "workspace_1wgvd1injqtife6y4rvfbu3h5"
TWENTY_DDL = f"""
CREATE SCHEMA {_WORKSPACE};
CREATE TYPE {_WORKSPACE}.person_interests_enum AS ENUM ('CASA', 'APARTAMENTO');
CREATE TABLE {_WORKSPACE}.company (id uuid PRIMARY KEY, name text, "deletedAt" timestamptz);
CREATE TABLE {_WORKSPACE}.person (
    id uuid PRIMARY KEY, "nameFirstName" text DEFAULT '', "nameLastName" text DEFAULT '',
    "emailsPrimaryEmail" text DEFAULT '', "emailsAdditionalEmails" jsonb, "phonesPrimaryPhoneNumber" text DEFAULT '',
    "phonesPrimaryPhoneCountryCode" text DEFAULT '', "phonesPrimaryPhoneCallingCode" text DEFAULT '',
    "phonesAdditionalPhones" jsonb, "linkedinLinkPrimaryLinkUrl" text DEFAULT '', "jobTitle" text DEFAULT '',
    city text DEFAULT '', "companyId" uuid, interests {_WORKSPACE}.person_interests_enum[],
    position double precision, "createdAt" timestamptz DEFAULT '2030-01-02 03:04Z',
    "updatedAt" timestamptz DEFAULT now(), "deletedAt" timestamptz
);
CREATE INDEX ON {_WORKSPACE}.person ("updatedAt");
"""


def _twenty(number: int, person: Person, **more: Any) -> Rows:
    given = {
        "nameFirstName": person.given,
        "nameLastName": person.surname,
        "emailsPrimaryEmail": person.email,
        "phonesPrimaryPhoneNumber": person.phone,
        "city": person.city,
    }
    return [(f"{_WORKSPACE}.person", {"id": str(UUID(int=number)), **given, **more})]


def _phones(*numbers: str) -> str:
    return json.dumps([{"number": number, "countryCode": "CO", "callingCode": "+57"} for number in numbers])


TWENTY = Shape(
    TWENTY_DDL,
    _suite_key,
    _twenty,
    {
        "the country beside the number": Own(
            _twenty(101, _ANA, phonesPrimaryPhoneNumber="3000000021", phonesPrimaryPhoneCountryCode="CO"),
            {"tel1": "93000000021"},
        ),
        "a number of another country": Own(
            _twenty(102, _ANA, phonesPrimaryPhoneNumber="5512345678", phonesPrimaryPhoneCountryCode="MX"),
            rejected=("tel1", "phone"),
        ),
        "a country that there is not": Own(
            _twenty(103, _ANA, phonesPrimaryPhoneNumber="3000000021", phonesPrimaryPhoneCountryCode="COL"),
            rejected=("tel1", "phone"),
        ),
        "more numbers": Own(
            _twenty(104, PEOPLE["plain"], phonesAdditionalPhones=_phones("3000000022", "3000000023")),
            {"tel1": "93000000001", "tel2": "93000000022"},
        ),
        "a list of no numbers": Own(_twenty(105, PEOPLE["plain"], phonesAdditionalPhones="[]"), {"tel2": ""}),
        "a wrong second number": Own(_twenty(106, PEOPLE["plain"], phonesAdditionalPhones=_phones("?")), {"tel2": ""}),
        "json that is a string": Own(
            _twenty(107, PEOPLE["plain"], phonesAdditionalPhones='"[]"', emailsAdditionalEmails='"a@example.com"'),
            {"tel2": "", "opt2": ""},
        ),
        "more addresses of e-mail": Own(
            _twenty(108, PEOPLE["plain"], emailsAdditionalEmails='["OTRA@example.com"]'), {"opt2": "otra@example.com"}
        ),
        "a company": Own(_twenty(109, PEOPLE["plain"], companyId=str(UUID(int=1))), {"opt1": "Cuenta S.A."}),
        "a company that is gone": Own(_twenty(110, PEOPLE["plain"], companyId=str(UUID(int=2))), {"opt1": ""}),
        "deleted": Own(_twenty(111, PEOPLE["plain"], deletedAt="2030-01-01")),
        "several interests, created in UTC": Own(
            _twenty(112, PEOPLE["plain"], interests="{CASA,APARTAMENTO}"), {"opt5": "CASA", "opt4": "01/01/2030 22:04"}
        ),
    },
    [(f"{_WORKSPACE}.company", {"id": str(UUID(int=1)), "name": "Cuenta S.A."})],
    spreads=False,
)

# -- Chatwoot ------------------------------------------------------------------------------------------------

CHATWOOT_DDL = """
CREATE TABLE public.contacts (
    id serial PRIMARY KEY, name varchar DEFAULT '', email varchar, phone_number varchar,
    account_id int NOT NULL DEFAULT 1,
    created_at timestamp NOT NULL DEFAULT now(), updated_at timestamp NOT NULL DEFAULT now(),
    additional_attributes jsonb DEFAULT '{}', identifier varchar, custom_attributes jsonb DEFAULT '{}',
    last_activity_at timestamp, contact_type int DEFAULT 0, middle_name varchar DEFAULT '',
    last_name varchar DEFAULT '', location varchar DEFAULT '', country_code varchar DEFAULT '',
    blocked boolean NOT NULL DEFAULT false
);
CREATE INDEX ON public.contacts (updated_at);
"""


def _chatwoot(number: int, person: Person, *, extra: Any = None, custom: Any = None, **more: Any) -> Rows:
    known = {"city": person.city} if person.city else {}
    contact = {
        "id": number,
        "name": _full(person),
        "phone_number": person.phone,
        "email": person.email,
        "additional_attributes": json.dumps(known | (extra or {})),
        "custom_attributes": json.dumps(custom or {}),
    }
    return [("public.contacts", contact | more)]


CHATWOOT = Shape(
    CHATWOOT_DDL,
    str,
    _chatwoot,
    {
        "attributes of every type": Own(
            _chatwoot(
                101,
                PEOPLE["plain"],
                extra={"country": "Colombia", "social_profiles": {"instagram": "prueba"}},
                custom={"producto": "Casa", "presupuesto": 1500000.4, "autoriza": True},
            ),
            {"country": "Colombia", "opt1": "Casa", "opt2": "1500000", "opt3": "Sí", "opt4": "prueba"},
        ),
        "attributes that are text": Own(
            _chatwoot(102, PEOPLE["plain"], custom={"presupuesto": "1500000", "autoriza": "no"}),
            {"opt2": "1500000", "opt3": "No"},
        ),
        "attributes of no use": Own(
            _chatwoot(
                103,
                PEOPLE["plain"],
                extra={"social_profiles": None},
                custom={"producto": None, "presupuesto": "mucho", "autoriza": [1]},
            ),
            {"opt1": "", "opt2": "", "opt3": "", "opt4": ""},
        ),
        "no attributes at all": Own(
            _chatwoot(104, PEOPLE["plain"], additional_attributes=None, custom_attributes="null"),
            {"opt1": "", "country": "", "opt5": "visitante"},
        ),
        "an identifier": Own(_chatwoot(105, PEOPLE["plain"], identifier="cc-1020"), {"customer_id": "cc-1020"}),
        "an empty identifier": Own(_chatwoot(106, PEOPLE["plain"], identifier=""), {"customer_id": "106"}),
        "blocked": Own(_chatwoot(107, PEOPLE["plain"], blocked=True)),
        "of another account": Own(_chatwoot(108, PEOPLE["plain"], account_id=2)),
        "a last name of its own": Own(
            _chatwoot(109, PEOPLE["plain"], name="Ana", last_name="Prueba Gómez"),
            {"customer_name": "Ana", "customer_last_name": "Prueba Gómez"},
        ),
        "a type that nobody knows": Own(_chatwoot(110, PEOPLE["plain"], contact_type=7), rejected=("opt5", "lookup")),
        "a long text": Own(
            _chatwoot(111, PEOPLE["plain"], extra={"social_profiles": {"instagram": "x" * 150}}), {"opt4": "x" * 100}
        ),
    },
    spreads=False,
)

# -- Salesforce ----------------------------------------------------------------------------------------------

SALESFORCE_DDL = """
CREATE SCHEMA salesforce;
CREATE TABLE salesforce.lead (
    "Id" char(18) COLLATE "C" PRIMARY KEY, "Salutation" varchar(40), "FirstName" varchar(40), "LastName" varchar(80),
    "Company" varchar(255), "Phone" varchar(40), "MobilePhone" varchar(40), "Email" varchar(80), "Street" text,
    "City" varchar(40), "State" varchar(80), "PostalCode" varchar(20), "Country" varchar(80), "CountryCode" varchar(10),
    "LeadSource" varchar(255), "Status" varchar(255), "AnnualRevenue" varchar(20), "Description" text,
    "HasOptedOutOfEmail" boolean DEFAULT false, "DoNotCall" boolean, "IsConverted" boolean DEFAULT false,
    "IsDeleted" boolean DEFAULT false, "CreatedDate" text DEFAULT '2030-01-02T03:04:05.000+0000',
    "SystemModstamp" timestamptz DEFAULT now()
);
CREATE INDEX ON salesforce.lead ("SystemModstamp");
"""


def _salesforce_key(number: int) -> str:
    return f"00Q00000000{number:04}AAA"


def _salesforce(number: int, person: Person, **more: Any) -> Rows:
    lead = {
        "Id": _salesforce_key(number),
        "FirstName": person.given,
        "LastName": person.surname,
        "MobilePhone": person.phone,
        "Email": person.email,
        "City": person.city,
    }
    return [("salesforce.lead", lead | more)]


SALESFORCE = Shape(
    SALESFORCE_DDL,
    _salesforce_key,
    _salesforce,
    {
        "an id that differs in case alone": Own(
            _salesforce(101, PEOPLE["plain"], Id="00q000000000101AaA"), {"customer_id": "00q000000000101AaA"}
        ),
        "its twin": Own(
            _salesforce(102, PEOPLE["plain"], Id="00Q000000000101aAA"), {"customer_id": "00Q000000000101aAA"}
        ),
        "amounts with a point": Own(_salesforce(103, PEOPLE["plain"], AnnualRevenue="1500000.50"), {"opt3": "1500001"}),
        "amounts of words": Own(_salesforce(104, PEOPLE["plain"], AnnualRevenue="alto"), {"opt3": ""}),
        "a time as text": Own(_salesforce(105, PEOPLE["plain"]), {"opt4": "01/01/2030 22:04"}),
        "a time that is none": Own(
            _salesforce(106, PEOPLE["plain"], CreatedDate="ayer"), rejected=("opt4", "datetime")
        ),
        "converted": Own(_salesforce(107, PEOPLE["plain"], IsConverted=True)),
        "must not be called": Own(_salesforce(108, PEOPLE["plain"], DoNotCall=True)),
        "no e-mail wanted": Own(
            _salesforce(109, PEOPLE["plain"], HasOptedOutOfEmail=True, LeadSource="Web"),
            {"opt5": "sin correo", "opt2": "web"},
        ),
        "an address of several lines": Own(
            _salesforce(110, PEOPLE["plain"], Street="Calle 5\r\nApto 2", PostalCode="110111"),
            {"address": "Calle 5 Apto 2, 110111"},
        ),
        "the same number twice": Own(
            _salesforce(111, PEOPLE["plain"], Phone="+57 (300) 000-0001"), {"tel1": "93000000001", "tel5": ""}
        ),
        "a country code in small letters": Own(
            _salesforce(112, PEOPLE["plain"], CountryCode="co"), {"tel1": "93000000001"}
        ),
    },
)

CRMS: dict[str, Shape] = {
    "EspoCRM": ESPO,
    "SuiteCRM": SUITE,
    "Odoo": ODOO,
    "Twenty": TWENTY,
    "Chatwoot": CHATWOOT,
    "Salesforce": SALESFORCE,
}
