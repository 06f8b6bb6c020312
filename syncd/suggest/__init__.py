"""A first configuration from a look at a table, for a person to correct: `syncd init`.

    `looking`: the catalogue and a bounded sample --> `Seen` --`guessing`--> `writing`: the text of a file

Nothing is invented that only a person can know: what must be filled in is left out, with a comment that says so.
No value of a row is written.
"""

from __future__ import annotations

from syncd.suggest.looking import look
from syncd.suggest.seen import Column, Seen
from syncd.suggest.writing import configuration, name_of

__all__ = ["Column", "Seen", "configuration", "look", "name_of"]
