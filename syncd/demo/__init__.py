"""`syncd demo`: a minute of syncd at work, on this machine alone, and the proof that it did its work.

    people -> crm -- Postgres -> [the real `syncd run`] -> [the real `syncd simulator`]
               ^                        |                          |
            traffic                   stage                      proof

`director` has it all happen: `stage` starts a Postgres as the CRM, the simulator and the daemon, each a process of its
own; `people` makes up leads, nasty ones among them; `traffic` inserts and changes leads while the daemon runs, and
writes down what it did and when (`book`); `view` shows it; `measure` asks the commands of syncd how it went; `proof`
compares what the CRM's table says must have arrived with what the simulator counted, lead by lead.

Nothing here looks into the daemon: the demo sees what an operator sees. Nobody is called, no data are real, and
nothing is left behind, unless the files are asked for.
"""

from __future__ import annotations

from syncd.demo.director import Wishes, run

__all__ = ["Wishes", "run"]
