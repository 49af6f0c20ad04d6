-- Run once by the postgres image, when its volume is new: an owner of the gateway's database who is no superuser. He may
-- make roles and databases, since syncs get one of each. The superuser keeps no password: he is there by the socket within
-- the container alone (`docker compose exec postgres psql --username=postgres`).
\getenv password POSTGRES_PASSWORD
CREATE ROLE sequin LOGIN CREATEDB CREATEROLE PASSWORD :'password';
CREATE DATABASE sequin_auth OWNER sequin ENCODING 'UTF8' TEMPLATE template0;
ALTER ROLE postgres PASSWORD NULL;
