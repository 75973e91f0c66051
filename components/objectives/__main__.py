"""`python -m components.objectives` prints docs/objectives.md."""

from components.objectives.docs import markdown

if __name__ == "__main__":
    print(markdown(), end="")
