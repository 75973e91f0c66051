"""What can be measured of answers, scorers and held-out comparisons: pure functions, one row each of a table.

A row says under which name its number stands in a report (`metric`), what a reader calls it (`label`), how it is
written (`format`) and where on the page (`section`); the arguments of its function say what it needs. Whoever holds an
`Evidence` calls `take`: every chosen measure at every place it fits, a number or the reason why there is none.
Table and names are torch-free and NumPy-free, since parameters import them.
"""
