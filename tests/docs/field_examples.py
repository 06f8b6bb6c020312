"""The examples of docs/fields.md: under each key of a rule, (field, rule, row, what comes of it).

Rule and row are TOML; what comes of it is the field's value, several fields as ``tel1 = ..., tel2 = ...``, or the rule
of a rejection between angle brackets.
"""

from __future__ import annotations

from typing import Final

EXAMPLES: Final[dict[str, list[tuple[str, str, str, str]]]] = {
    "column": [
        ("city", '"town"', 'town = " Santa  Marta "', "Santa Marta"),
        ("customer_id", '{ column = "document" }', "document = 1020304050", "1020304050"),
        ("customer_id", '{ column = "document" }', 'document = "10,20"', "<comma>"),
    ],
    "value": [("opt1", '{ value = "web" }', "", "web")],
    "template": [
        ("opt2", '{ template = "{source}/{page}" }', 'source = "fb", page = ""', "fb/"),
        ("opt2", '{ template = "{source}/{page}" }', 'source = "", page = ""', ""),
    ],
    "first": [
        ("city", '{ first = ["home", "office"] }', 'home = " ", office = "Cali"', "Cali"),
        ("city", '{ first = ["home", "office"] }', 'home = "Pasto", office = "Cali"', "Pasto"),
    ],
    "join": [("address", '{ join = ["street", "number"] }', 'street = "Calle 1", number = ""', "Calle 1")],
    "separator": [
        (
            "address",
            '{ join = ["street", "number"], separator = " # " }',
            'street = "Calle 1", number = 23',
            "Calle 1 # 23",
        )
    ],
    "path": [
        ("opt3", '{ column = "more", path = "$.budget" }', "more = { budget = 1500 }", "1500"),
        ("opt3", '{ column = "tags", path = "$[-1]" }', 'tags = ["a", "b"]', "b"),
        ("opt3", '{ column = "more", path = "$.budget" }', "more = { }", ""),
    ],
    "strip": [("city", '{ column = "a", strip = "-." }', 'a = "-- Cali."', "Cali")],
    "replace": [
        (
            "city",
            "{ column = \"a\", replace = [{ pattern = '\\s*D\\.?C\\.?$', with = '' }] }",
            'a = "Bogotá D.C."',
            "Bogotá",
        ),
        (
            "customer_name",
            "{ column = \"a\", replace = [{ pattern = '^(\\pL+), (\\pL+)$', with = '\\2 \\1' }] }",
            'a = "Ruiz, Ana"',
            "Ana Ruiz",
        ),
    ],
    "digits": [("customer_id", '{ column = "a", digits = true }', 'a = "NIT 900.123.456-7"', "9001234567")],
    "ascii": [("city", '{ column = "a", ascii = true }', 'a = "Ñuñoa, Łódź"', "Nunoa, Lodz")],
    "split": [
        ("customer_name", '{ column = "a", split = "first" }', 'a = "Ana María Pérez"', "Ana"),
        ("customer_last_name", '{ column = "a", split = "rest" }', 'a = "Ana María Pérez"', "María Pérez"),
        (
            "customer_name",
            '{ column = "a", split = "names" }',
            'a = "María del Carmen Gómez de la Torre"',
            "María del Carmen",
        ),
        (
            "customer_last_name",
            '{ column = "a", split = "surnames" }',
            'a = "María del Carmen Gómez de la Torre"',
            "Gómez de la Torre",
        ),
        ("customer_last_name", '{ column = "a", split = "surnames" }', 'a = "Gómez Torres, Ana"', "Gómez Torres"),
    ],
    "lookup": [
        ("city", '{ column = "a", lookup = { "11001" = "Bogotá" } }', 'a = "11001"', "Bogotá"),
        ("city", '{ column = "a", lookup = { "11001" = "Bogotá" } }', 'a = "5"', "<lookup>"),
        ("city", '{ column = "a", lookup = { "11001" = "Bogotá" }, default = "" }', 'a = "5"', ""),
    ],
    "fold": [("id_type", '{ column = "a", lookup = { "cédula" = "CC" }, fold = true }', 'a = "CEDULA"', "CC")],
    "bool": [
        ("opt4", '{ column = "a", bool = { true = "Sí", false = "No" } }', "a = true", "Sí"),
        ("opt4", '{ column = "a", bool = { true = "Sí", false = "No" } }', 'a = "N"', "No"),
        ("opt4", '{ column = "a", bool = { true = "Sí", false = "No" } }', 'a = "quizás"', "<bool>"),
    ],
    "case": [("email", '{ column = "a", case = "lower" }', 'a = "Ana@Example.com"', "ana@example.com")],
    "number": [
        (
            "opt5",
            '{ column = "a", number = { decimals = 2, decimal = ",", thousands = "." } }',
            "a = 1234567.891",
            "1.234.567,89",
        ),
        ("opt5", '{ column = "a", number = { decimals = 0 } }', 'a = "$ 1.234.567"', "1234567"),
        ("opt5", '{ column = "a", number = { } }', 'a = "1.500"', "<number>"),
        ("opt5", '{ column = "a", number = { read = "," } }', 'a = "1.500"', "1500"),
    ],
    "phone": [
        ("tel1", '{ column = "a", phone = { region = "CO", prefix = "9" } }', 'a = "+57 300 000 0001"', "93000000001"),
        ("tel1", '{ column = "a", phone = { region = "CO" } }', 'a = "(1) 300 0003"', "6013000003"),
        ("tel1", '{ column = "a", phone = { region = "CO" } }', 'a = "300 0003"', "<phone>"),
        ("tel1", '{ column = "a", phone = { region = "CO", area = "601" } }', 'a = "300 0003"', "6013000003"),
        ("tel1", '{ column = "a", phone = { region = "CO", kind = "mobile" } }', 'a = "6013000003"', "<phone>"),
        (
            "tel1",
            '{ column = "a", phone = { region = "CO", format = "e164", region_column = "b" } }',
            'a = "202 555 0123", b = "US"',
            "12025550123",
        ),
        ("tel1", '{ column = "a", phone = { region = "CO" } }', 'a = "601 300 0003 ext 12"', "6013000003"),
        (
            "tel1",
            '{ column = "a", phone = { region = "CO", extension = "reject" } }',
            'a = "601 300 0003 ext 12"',
            "<phone>",
        ),
        (
            "tel1",
            '{ column = "a", phone = { region = "CO", spread = true } }',
            'a = "3000000001 / 6013000003; 300 000 0001 o ninguno"',
            "tel1 = 3000000001, tel2 = 6013000003",
        ),
    ],
    "datetime": [
        ("recall_date", '{ column = "a", datetime = true }', "a = 2040-07-01T12:30:00Z", "20400701073000"),
        ("recall_date", '{ column = "a", datetime = true }', 'a = "mañana"', "<datetime>"),
        ("opt6", '{ column = "a", datetime = "%d/%m/%Y" }', 'a = "01/07/2040"', "20400701000000"),
        ("opt6", '{ column = "a", datetime = { write = "%d/%m/%Y" } }', "a = 2040-07-01", "01/07/2040"),
        ("opt6", '{ column = "a", datetime = { zone = "UTC" } }', "a = 2040-07-01T03:30:00", "20400630223000"),
    ],
    "max": [("opt7", '{ column = "a", max = 5 }', 'a = "abcdefgh"', "abcde")],
    "over": [("opt7", '{ column = "a", max = 5, over = "reject" }', 'a = "abcdefgh"', "<length>")],
    "default": [
        ("city", '{ column = "a", default = "otra" }', 'a = ""', "otra"),
        ("tel2", '{ column = "a", phone = { region = "CO" }, default = "" }', 'a = "no tiene"', ""),
    ],
    "required": [("email", '{ column = "a", required = true }', 'a = " "', "<required>")],
}
