-- Names (lower case, without schema) of the functions, relations, types and operators of this database that decide what a
-- text may leave in the session. Everything is qualified, so that no search_path leads elsewhere; no function here opens or
-- locks a relation. Four columns: the kind of the row, a name, and what the kind says of it:
--   s  its use may leave session state. Found by: the source of functions, dependencies between objects (pg_depend), calls of
--      PostgreSQL's own functions in stored expressions, and sources that mention a name found already
--   f  a function, the extension that it belongs to, and `t` if the server runs what nobody can read here (C, other languages)
--   o  an operator on PostgreSQL's own types
--   u  a name, and one that its use leads to
--   v  a view that leads to pg_settings, which can be updated
--   x  a function, and its source; these rows come last
-- `CASE … END = 1` keeps the planner's estimates low: with the usual ones it would compile the query, for seconds.
WITH RECURSIVE
builtin AS MATERIALIZED (
    -- An expression that calls one of these, as it is stored.
    SELECT (':(funcid|opfuncid) (' OPERATOR(pg_catalog.||)
        pg_catalog.string_agg(p.oid::pg_catalog.text, '|') OPERATOR(pg_catalog.||) ') ') AS pattern
    FROM pg_catalog.pg_proc p
    WHERE p.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid
      AND p.proname::pg_catalog.text OPERATOR(pg_catalog.~)
          '^(set_config|setseed|currval|lastval|pg_(try_)?advisory_(un)?lock.*|query_to_xml.*|ts_stat|ts_rewrite)$'
),
-- What can be used by name: its name, where its dependencies are kept, and its stored expression or source.
thing AS MATERIALIZED (
    SELECT p.proname::pg_catalog.text AS name, 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid AS class,
        p.oid, p.prosqlbody::pg_catalog.text AS expression,
        CASE WHEN l.lanname OPERATOR(pg_catalog.<>) ALL ('{c,internal}'::pg_catalog.name[]) THEN p.prosrc END AS source
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
    WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    UNION ALL
    SELECT c.relname::pg_catalog.text, 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid,
        r.ev_action::pg_catalog.text, NULL
    FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.ev_class
    WHERE r.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    UNION ALL
    SELECT c.relname::pg_catalog.text, 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid,
        d.adbin::pg_catalog.text, NULL
    FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) d.adrelid
    UNION ALL
    SELECT c.relname::pg_catalog.text, 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid,
        pg_catalog.concat(p.polqual::pg_catalog.text, ' ', p.polwithcheck::pg_catalog.text), NULL
    FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.polrelid
    UNION ALL
    SELECT coalesce(c.relname, t.typname)::pg_catalog.text, 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid,
        k.conbin::pg_catalog.text, NULL
    FROM pg_catalog.pg_constraint k
    LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.conrelid
    LEFT JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) k.contypid
    WHERE k.contype OPERATOR(pg_catalog.=) 'c' AND k.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    UNION ALL
    SELECT c.relname::pg_catalog.text, 'pg_catalog.pg_trigger'::pg_catalog.regclass, t.oid,
        t.tgqual::pg_catalog.text, NULL
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
    WHERE NOT t.tgisinternal
    UNION ALL
    -- Tables depend on the types of their columns, indexes on the functions of their expressions.
    SELECT coalesce(b.relname, c.relname)::pg_catalog.text, 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid,
        pg_catalog.concat(i.indexprs::pg_catalog.text, ' ', i.indpred::pg_catalog.text), NULL
    FROM pg_catalog.pg_class c
    LEFT JOIN pg_catalog.pg_index i ON i.indexrelid OPERATOR(pg_catalog.=) c.oid
    LEFT JOIN pg_catalog.pg_class b ON b.oid OPERATOR(pg_catalog.=) i.indrelid
    WHERE c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f,i,I,v,m,c}'::pg_catalog."char"[])
    UNION ALL
    SELECT t.typname::pg_catalog.text, 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid,
        t.typdefaultbin::pg_catalog.text, NULL
    FROM pg_catalog.pg_type t
    WHERE t.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      AND t.typtype OPERATOR(pg_catalog.=) ANY ('{d,b,r,m}'::pg_catalog."char"[])
    UNION ALL
    SELECT o.oprname::pg_catalog.text, 'pg_catalog.pg_operator'::pg_catalog.regclass, o.oid, NULL, NULL
    FROM pg_catalog.pg_operator o
    WHERE o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    UNION ALL
    SELECT t.typname::pg_catalog.text, 'pg_catalog.pg_cast'::pg_catalog.regclass, k.oid, NULL, NULL
    FROM pg_catalog.pg_cast k
    JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) k.castsource OR t.oid OPERATOR(pg_catalog.=) k.casttarget
    WHERE k.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    UNION ALL
    -- An event trigger belongs to the words that fire it.
    SELECT w.word, 'pg_catalog.pg_event_trigger'::pg_catalog.regclass, e.oid, NULL, NULL
    FROM pg_catalog.pg_event_trigger e
    CROSS JOIN pg_catalog.unnest('{create,alter,drop,grant,revoke,comment,refresh,reindex,import,into,security}'::pg_catalog.text[])
        AS w (word)
    WHERE e.evtenabled OPERATOR(pg_catalog.<>) 'D' AND e.evtevent::pg_catalog.text OPERATOR(pg_catalog.<>) 'login'
),
-- Which name uses which, by dependency.
uses AS MATERIALIZED (
    SELECT pg_catalog.lower(t.name) AS name, pg_catalog.lower(u.name) AS used
    FROM thing t
    JOIN pg_catalog.pg_depend d
        ON d.classid OPERATOR(pg_catalog.=) t.class AND d.objid OPERATOR(pg_catalog.=) t.oid
    JOIN thing u ON u.class OPERATOR(pg_catalog.=) d.refclassid AND u.oid OPERATOR(pg_catalog.=) d.refobjid
    UNION
    -- What is said of a table reaches its partitions and children, and the other way round: a trigger of a partitioned table
    -- fires for its partitions.
    SELECT pg_catalog.lower(t.relname), pg_catalog.lower(u.relname)
    FROM pg_catalog.pg_inherits i
    CROSS JOIN LATERAL (VALUES (i.inhparent, i.inhrelid), (i.inhrelid, i.inhparent)) AS p (one, other)
    JOIN pg_catalog.pg_class t ON t.oid OPERATOR(pg_catalog.=) p.one
    JOIN pg_catalog.pg_class u ON u.oid OPERATOR(pg_catalog.=) p.other
    UNION
    -- Cascades: a change of the referenced table changes the referencing one.
    SELECT pg_catalog.lower(t.relname), pg_catalog.lower(u.relname)
    FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_class t ON t.oid OPERATOR(pg_catalog.=) k.confrelid
    JOIN pg_catalog.pg_class u ON u.oid OPERATOR(pg_catalog.=) k.conrelid
    WHERE k.contype OPERATOR(pg_catalog.=) 'f'
      AND (k.confdeltype OPERATOR(pg_catalog.=) ANY ('{c,n,d}'::pg_catalog."char"[])
           OR k.confupdtype OPERATOR(pg_catalog.=) ANY ('{c,n,d}'::pg_catalog."char"[]))
),
code AS MATERIALIZED (
    SELECT pg_catalog.lower(t.name) AS name, pg_catalog.lower(t.source) AS source FROM thing t WHERE t.source IS NOT NULL
),
stateful (name) AS (
    SELECT pg_catalog.lower(t.name)
    FROM thing t CROSS JOIN builtin b
    WHERE t.expression OPERATOR(pg_catalog.~) b.pattern
    UNION
    SELECT pg_catalog.lower(t.name)
    FROM thing t
    -- Once as it stands, once without comments.
    CROSS JOIN pg_catalog.unnest(ARRAY[
        t.source,
        pg_catalog.regexp_replace(t.source, '/\*.*?\*/|--[^\n\r]*', ' ', 'g')
    ]) AS s (source)
    WHERE CASE WHEN s.source OPERATOR(pg_catalog.~*)
          '\m(set_config|setseed|currval|lastval|pg_(try_)?advisory_(un)?lock\w*|pg_temp\w*|temp|temporary|dblink_\w+|query_to_xml\w*|ts_stat|ts_rewrite|crosstab\w*|pg_create_\w*replication_slot|pg_replication_origin_session_\w+|execute|with\s+hold|GD|SD|_SHARED|plpy|plv8|spi_\w+)\M'
       OR s.source OPERATOR(pg_catalog.~*)
          '(^|;|>>|[''"$]|\m(begin|then|else|loop|declare)\M)\s*(set\s+(?!(local|transaction|constraints)\M)|(reset|listen|unlisten|load|prepare|deallocate|discard)\M)'
    THEN 1 END OPERATOR(pg_catalog.=) 1
    UNION
    SELECT n.name
    FROM stateful s
    CROSS JOIN LATERAL (
        SELECT u.name FROM uses u WHERE u.used OPERATOR(pg_catalog.=) s.name
        UNION ALL
        SELECT c.name FROM code c WHERE CASE
            WHEN pg_catalog.strpos(c.source, s.name) OPERATOR(pg_catalog.=) 0 THEN 0
            WHEN s.name OPERATOR(pg_catalog.~) '\W' THEN 1
            WHEN c.source OPERATOR(pg_catalog.~) ('\m' OPERATOR(pg_catalog.||) s.name OPERATOR(pg_catalog.||) '\M') THEN 1
        END OPERATOR(pg_catalog.=) 1
    ) AS n
)
SELECT DISTINCT 's' AS kind, s.name, '' AS other, '' AS opaque FROM stateful s
UNION ALL
SELECT 'f', pg_catalog.lower(p.proname::pg_catalog.text), coalesce(e.extname::pg_catalog.text, ''),
    CASE WHEN p.prokind OPERATOR(pg_catalog.<>) 'a'
          AND l.lanname OPERATOR(pg_catalog.<>) ALL ('{sql,plpgsql}'::pg_catalog.name[])
          OR pg_catalog.length(p.prosrc) OPERATOR(pg_catalog.>) 100000 THEN 't' ELSE '' END
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
LEFT JOIN pg_catalog.pg_depend d
    ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
    AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
LEFT JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
UNION ALL
SELECT DISTINCT 'o', o.oprname::pg_catalog.text, '', ''
FROM pg_catalog.pg_operator o
WHERE o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  AND o.oprleft OPERATOR(pg_catalog.<) 16384::pg_catalog.oid AND o.oprright OPERATOR(pg_catalog.<) 16384::pg_catalog.oid
UNION ALL
SELECT 'u', u.name, u.used, '' FROM uses u WHERE u.name OPERATOR(pg_catalog.<>) u.used
UNION ALL
SELECT DISTINCT 'v', pg_catalog.lower(t.name), '', ''
FROM thing t
WHERE CASE WHEN t.class OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    AND t.expression OPERATOR(pg_catalog.~) (':relid ' OPERATOR(pg_catalog.||)
        'pg_catalog.pg_settings'::pg_catalog.regclass::pg_catalog.oid::pg_catalog.text OPERATOR(pg_catalog.||) ' ')
    THEN 1 END OPERATOR(pg_catalog.=) 1
UNION ALL
SELECT 'x', pg_catalog.lower(p.proname::pg_catalog.text), p.prosrc, ''
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  AND l.lanname OPERATOR(pg_catalog.=) ANY ('{sql,plpgsql}'::pg_catalog.name[])
  AND pg_catalog.length(p.prosrc) OPERATOR(pg_catalog.<=) 100000
ORDER BY 1
