"""Several verdicts on one comparison: how they become one, how far they agree, and what sways them. Torch-free.

>>> from components.votes.aggregation import majority
>>> from components.votes.ballots import Cast
>>> majority([[Cast("ann", "a"), Cast("bob", "a"), Cast("cy", "b")]])  # (2 + 1) / (3 + 2)
[Decision(outcome='a', p_a=0.6)]
"""
