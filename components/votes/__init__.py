"""Several verdicts on one comparison: how they become one, how far they agree, and what sways them. Torch-free.

`ballots.votes(records)` reads them; `table.AGGREGATIONS` and `table.AGREEMENTS` hold what can be made of them.
"""
