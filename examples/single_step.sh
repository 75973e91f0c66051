#!/usr/bin/env bash
# One step by hand: import pairs in TRL's format. Two of the eight lines are bad on purpose; they are quarantined, not lost.
#   bash examples/single_step.sh [FOLDER FOR THE OUTPUT]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-$(mktemp -d)}

python -m components run human_feedback --set max_quarantine_share=0.5 --set license=CC0-1.0 \
  --in raw="$here/pairs.jsonl" --out feedback="$out/feedback"

echo "records:    $(wc -l < "$out/feedback/records.jsonl")"
echo "quarantine:"
python - "$out/feedback/quarantine.jsonl" <<'PY'
import json, sys
for line in open(sys.argv[1], encoding="utf-8"):
    row = json.loads(line)
    print(f"  line {row['line']}: {row['rule']}: {row['reason']}")
PY
