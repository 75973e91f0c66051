#!/bin/bash
# One dump of each database, and the newest $KEEP of each are kept. A dump has its final name only when it is complete.
#   restore: pg_restore --clean --if-exists --no-owner --dbname NAME FILE
set -euo pipefail
folder=${BACKUP_FOLDER:-/backups}
for name in prefect mlflow; do
  password=${name^^}_DB_PASSWORD
  file=$folder/$name-$(date -u +%Y%m%dT%H%M%SZ).dump
  rm -f "$folder/$name"-*.part
  PGPASSWORD=${!password:?} pg_dump --format custom --username "$name" --dbname "$name" --file "$file.part"
  pg_restore --list "$file.part" >/dev/null  # it can be read
  mv "$file.part" "$file"
  echo "$file $(stat -c %s "$file") bytes"
  mapfile -t old < <(printf '%s\n' "$folder/$name"-*.dump | sort -r | tail -n +$((${KEEP:-14} + 1)))
  ((${#old[@]} == 0)) || rm -- "${old[@]}"
done
