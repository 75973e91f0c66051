#!/bin/bash
# Run once, by the postgres image, on an empty data folder: a role and a database of its own for each server.
set -euo pipefail
for name in prefect mlflow; do
  password=${name^^}_DB_PASSWORD
  psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set name="$name" --set password="${!password:?}" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
