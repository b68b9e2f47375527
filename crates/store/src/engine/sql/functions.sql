-- Each means what it means in SQLite. Made anew at every start, so that they are those of the program that runs.

-- Lower case by Unicode's rules, whatever the rules of the database are.
CREATE OR REPLACE FUNCTION fold(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT lower($1 COLLATE "und-x-icu") $$;

CREATE OR REPLACE FUNCTION instr(text, text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT strpos($1, $2)::bigint $$;

CREATE OR REPLACE FUNCTION substr(text, bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT substr($1, $2::integer) $$;

-- Nothing, when one of both is nothing.
CREATE OR REPLACE FUNCTION max(bigint, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT CASE WHEN $1 >= $2 THEN $1 WHEN $2 > $1 THEN $2 END $$;
CREATE OR REPLACE FUNCTION min(bigint, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT CASE WHEN $1 <= $2 THEN $1 WHEN $2 < $1 THEN $2 END $$;

CREATE OR REPLACE FUNCTION json_extract(text, text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT jsonb_path_query_first($1::jsonb, $2::jsonpath) #>> '{}' $$;

CREATE OR REPLACE FUNCTION json_array_length(text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT jsonb_array_length($1::jsonb)::bigint $$;

-- The elements of a list; none of what is no list.
CREATE OR REPLACE FUNCTION json_each(text) RETURNS TABLE (key bigint, value text) LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
        SELECT ordinality - 1, element #>> '{}'
        FROM jsonb_array_elements(CASE WHEN jsonb_typeof($1::jsonb) = 'array' THEN $1::jsonb ELSE '[]' END)
            WITH ORDINALITY AS elements (element, ordinality)
    $$;
CREATE OR REPLACE FUNCTION json_each(text, text) RETURNS TABLE (key bigint, value text) LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT * FROM json_each(jsonb_path_query_first($1::jsonb, $2::jsonpath)::text) $$;

CREATE OR REPLACE FUNCTION webhook_changes() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN UPDATE webhook_account SET changes = changes + 1; RETURN NULL; END $$;
