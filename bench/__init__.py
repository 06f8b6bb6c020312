"""How fast syncd is, as ratios inside one run: `python -m bench`, or `make bench`.

syncd hands a table of leads to the simulator; beside it, on the same machine and in the same minutes, the least that
could do the same, ``psql | curl``, sends the same bodies to the same simulator. That is the floor. Each side runs
several times, in turn; a run counts only if the simulator had every lead exactly once.

Beside that, what concerns capture, each with a floor of its own (`bare`): how long a lead takes (`latency`, into the
sink `arrivals`), what the triggers cost those who write (`trigger`), what syncd takes when nothing happens (`idle`),
and how fast changes come into the ledger when nothing may leave (`capture`). `table` prints these; `usage` asks /proc.

To read it, begin with what both sides send (`leads`), then the two sides (`daemon`, `floor`) and where they send it
(`sink`); `sections` measures, `breakdown` says where syncd's time went, `report` prints. `stage` is what they stand
on: the CRM's database, the ledgers, the configuration. A run that does not verify raises `BenchFailed` (`errors`).
"""
