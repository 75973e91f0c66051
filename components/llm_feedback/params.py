"""Parameters of `llm_feedback`. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from components.contract.params import Choice
from components.contract.ranges import Count
from components.errors import ParamsError
from components.judges import JUDGES, PROMPT_CONTRACTS, SOURCES
from components.judges.contracts.pair_verdict import PairVerdict
from components.judges.kinds import Simulated


@dataclass(frozen=True)
class Params:
    """Who is asked, what is asked, and what becomes of the answers."""

    judge: Annotated[Any, JUDGES] = field(default_factory=Simulated)
    """Who is asked (docs/judges.md)."""
    contract: Annotated[Any, PROMPT_CONTRACTS] = field(default_factory=PairVerdict)
    """What is asked, of a pair or of one completion, and how the answer is read (docs/prompt_contracts.md)."""
    source: Annotated[Choice, SOURCES] = field(default_factory=lambda: Choice("both_orders"))
    """What becomes of the answers (docs/sources.md); it must take what the contract gives."""
    pairs_per_prompt: Count = 1
    """Most pairs per prompt, if pairs are judged within one set of samples; each sample is used about equally often."""
    license: str = "unknown"
    """Licence of prompts and completions, as every record will say."""

    def check(self) -> None:
        contract, source = PROMPT_CONTRACTS[self.contract.ROW.name], SOURCES[self.source.name]
        wanted = {name: contract.facts[name] for name in ("item", "answer")}
        if wanted != {name: source.facts[name] for name in wanted}:
            fit = [row.name for row in SOURCES if wanted == {name: row.facts[name] for name in wanted}]
            raise ParamsError(
                f"source.name: {source.name} does not take what {contract.name} gives, a {wanted['answer']} about a "
                f"{wanted['item']} (got '{source.name}'). Choose {' or '.join(fit) or 'another contract'}."
            )
