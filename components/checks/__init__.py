"""What inspects the house: everything that stands in two places agrees, generated pages are up to date, and scaffolds
for what is new. Nothing that runs a step needs it."""
