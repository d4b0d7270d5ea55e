-- All functions, relations, operators and types of this database besides PostgreSQL's own, and which of them keep a text that
-- uses them on the primary. Everything is qualified, so that no search_path leads elsewhere; no function here opens or locks
-- a relation. Columns: kind (f, r, o, t), schema, name, why (empty: it may be used anywhere), the least and the most
-- arguments, and whether (row).name may call it.
-- `CASE … END = 1` keeps the planner's estimates low: with the usual ones it would compile the query, for seconds.
WITH RECURSIVE
builtin AS MATERIALIZED (
    -- A stored expression that calls a function of PostgreSQL's own that keeps its text on the primary.
    SELECT (':(funcid|opfuncid|aggfnoid|winfnoid) (' OPERATOR(pg_catalog.||)
        pg_catalog.string_agg(p.oid::pg_catalog.text, '|') OPERATOR(pg_catalog.||) ') ') AS pattern
    FROM pg_catalog.pg_proc p
    WHERE p.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid
      AND (p.provolatile OPERATOR(pg_catalog.=) 'v'
           AND p.proname OPERATOR(pg_catalog.<>) ALL ('{clock_timestamp,timeofday,random,random_normal,gen_random_uuid,uuidv4,uuidv7,pg_sleep,pg_sleep_for,pg_sleep_until,current_query,pg_relation_size,pg_table_size,pg_indexes_size,pg_total_relation_size,pg_database_size,pg_tablespace_size,pg_partition_tree,pg_partition_ancestors,bernoulli,system}'::pg_catalog.name[])
           OR p.proname OPERATOR(pg_catalog.=) ANY ('{nextval,setval,pg_notify,currval,lastval,set_config,setseed,pg_cursor,pg_prepared_statement,pg_listening_channels,pg_my_temp_schema,pg_is_other_temp_schema,pg_sequence_last_value,pg_get_sequence_data,current_schema,current_schemas,txid_current,txid_current_if_assigned,txid_current_snapshot,txid_status,pg_current_xact_id,pg_current_xact_id_if_assigned,pg_current_snapshot,pg_xact_status,pg_export_snapshot,pg_xact_commit_timestamp,pg_xact_commit_timestamp_origin,pg_last_committed_xact,pg_walfile_name,pg_walfile_name_offset,version,inet_server_addr,inet_server_port,inet_client_addr,inet_client_port,pg_backend_pid,pg_postmaster_start_time,pg_conf_load_time,pg_is_in_recovery,pg_jit_available,pg_numa_available,pg_config,pg_available_extensions,pg_available_extension_versions,pg_extension_update_paths,pg_show_all_settings,pg_show_all_file_settings,pg_hba_file_rules,pg_ident_file_mappings,pg_get_replication_slots,pg_lock_status,pg_blocking_pids,pg_safe_snapshot_blocking_pids,pg_prepared_xact,pg_tablespace_location,pg_tablespace_databases,pg_current_logfile,table_to_xml,table_to_xmlschema,table_to_xml_and_xmlschema,schema_to_xml,schema_to_xmlschema,schema_to_xml_and_xmlschema,database_to_xml,database_to_xmlschema,database_to_xml_and_xmlschema}'::pg_catalog.name[])
           OR p.proname OPERATOR(pg_catalog.~) '^(pg_advisory_|pg_try_advisory_|pg_stat_|pg_control_|lo_)')
),
-- What holds a dependency, and what is used by name instead of it.
holder AS MATERIALIZED (
    SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid AS class, r.oid,
        'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid AS of_class, r.ev_class AS of_oid,
        r.ev_action::pg_catalog.text AS expression
    FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.ev_class
    -- A materialized view is data.
    WHERE r.ev_type OPERATOR(pg_catalog.=) '1' AND c.relkind OPERATOR(pg_catalog.=) 'v'
    UNION ALL
    SELECT 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, 'pg_catalog.pg_class'::pg_catalog.regclass, p.polrelid,
        p.polqual::pg_catalog.text
    FROM pg_catalog.pg_policy p
    UNION ALL
    -- Computed when it is read: PostgreSQL 18.
    SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid, 'pg_catalog.pg_class'::pg_catalog.regclass, d.adrelid,
        d.adbin::pg_catalog.text
    FROM pg_catalog.pg_attrdef d
    JOIN pg_catalog.pg_attribute a
        ON a.attrelid OPERATOR(pg_catalog.=) d.adrelid AND a.attnum OPERATOR(pg_catalog.=) d.adnum
    WHERE a.attgenerated OPERATOR(pg_catalog.=) 'v'
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid, 'pg_catalog.pg_type'::pg_catalog.regclass, k.contypid,
        k.conbin::pg_catalog.text
    FROM pg_catalog.pg_constraint k WHERE k.contypid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
    UNION ALL
    SELECT 'pg_catalog.pg_cast'::pg_catalog.regclass, k.oid, 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, NULL
    FROM pg_catalog.pg_cast k CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[k.castsource, k.casttarget]) AS t (oid)
    WHERE k.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid,
        pg_catalog.concat(p.prosqlbody::pg_catalog.text, ' ', p.proargdefaults::pg_catalog.text)
    FROM pg_catalog.pg_proc p WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    UNION ALL
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, NULL
    FROM pg_catalog.pg_class c
    WHERE c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f,v,m,c}'::pg_catalog."char"[])
    UNION ALL
    SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, NULL
    FROM pg_catalog.pg_type t WHERE t.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    UNION ALL
    SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, o.oid, 'pg_catalog.pg_operator'::pg_catalog.regclass, o.oid, NULL
    FROM pg_catalog.pg_operator o WHERE o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
),
uses AS MATERIALIZED (
    SELECT h.of_class AS class, h.of_oid AS oid, d.refclassid AS used_class, d.refobjid AS used
    FROM holder h
    JOIN pg_catalog.pg_depend d
        ON d.classid OPERATOR(pg_catalog.=) h.class AND d.objid OPERATOR(pg_catalog.=) h.oid
    WHERE d.refclassid OPERATOR(pg_catalog.=) ANY (ARRAY[
        'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid, 'pg_catalog.pg_class'::pg_catalog.regclass,
        'pg_catalog.pg_type'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass])
    UNION ALL
    -- Who reads a table reads what inherits from it.
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.inhparent, 'pg_catalog.pg_class'::pg_catalog.regclass, i.inhrelid
    FROM pg_catalog.pg_inherits i
),
code AS MATERIALIZED (
    SELECT p.oid, pg_catalog.lower(p.prosrc) AS source
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
    WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      AND p.provolatile OPERATOR(pg_catalog.<>) 'v'
      AND l.lanname OPERATOR(pg_catalog.<>) ALL ('{c,internal}'::pg_catalog.name[])
),
-- What is to be read on the primary alone, and what inherits from it: its rows are rows of that, too.
listed (oid) AS (
    SELECT c.oid
    FROM (VALUES /* listed */ (NULL, NULL)) AS it (schema, name)
    JOIN pg_catalog.pg_class c ON c.relname OPERATOR(pg_catalog.=) it.name::pg_catalog.name
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE it.schema IS NULL OR n.nspname OPERATOR(pg_catalog.=) it.schema::pg_catalog.name
    UNION
    SELECT i.inhrelid FROM listed l JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) l.oid
),
kept (class, oid, why) AS (
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, l.oid, 'p' FROM listed l
    UNION
    -- Its source names one of them; where a text has the name, it may mean it.
    SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, c.oid, 'p'
    FROM code c CROSS JOIN (SELECT DISTINCT r.relname FROM listed l JOIN pg_catalog.pg_class r ON r.oid OPERATOR(pg_catalog.=) l.oid) AS named
    WHERE pg_catalog.strpos(c.source, pg_catalog.lower(named.relname::pg_catalog.text)) OPERATOR(pg_catalog.>) 0
    UNION
    SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid, p.oid, 'v'
    FROM pg_catalog.pg_proc p
    WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND p.provolatile OPERATOR(pg_catalog.=) 'v'
    UNION
    -- It says that it is stable, and calls what is not.
    SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, c.oid, 'v'
    FROM code c
    WHERE CASE WHEN c.source OPERATOR(pg_catalog.~)
        '\m(nextval|setval|currval|lastval|set_config|setseed|pg_notify|txid_\w+|pg_current_\w+|pg_(try_)?advisory_\w+|pg_stat\w*|pg_locks|pg_settings|lo_\w+|dblink\w*|query_to_xml\w*|pg_backend_pid|pg_is_in_recovery|inet_server_\w+|pg_temp\w*)\M'
        THEN 1 END OPERATOR(pg_catalog.=) 1
    UNION
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid,
        CASE WHEN c.relpersistence OPERATOR(pg_catalog.=) 't' THEN 't' WHEN c.relpersistence OPERATOR(pg_catalog.=) 'u' THEN 'u'
            WHEN c.relkind OPERATOR(pg_catalog.=) 'f' THEN 'f' WHEN c.relkind OPERATOR(pg_catalog.=) 'S' THEN 's' ELSE 'd' END
    FROM pg_catalog.pg_class c
    WHERE c.relpersistence OPERATOR(pg_catalog.<>) 'p'
       OR c.relkind OPERATOR(pg_catalog.=) ANY ('{f,S}'::pg_catalog."char"[])
       OR c.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid AND c.relkind OPERATOR(pg_catalog.=) 'v'
          AND c.relname OPERATOR(pg_catalog.~) '^pg_(stat_|statio_|aios$|available_extension|backend_memory|config$|cursors$|file_settings$|hba_|ident_|locks$|prepared_|replication_|settings$|shmem_|sequences$)'
    UNION
    SELECT h.of_class, h.of_oid,
        CASE WHEN h.of_class OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass THEN 'd' ELSE 'v' END
    FROM holder h CROSS JOIN builtin b
    WHERE CASE WHEN h.of_oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND h.expression OPERATOR(pg_catalog.~) b.pattern
        THEN 1 END OPERATOR(pg_catalog.=) 1
    UNION
    SELECT u.class, u.oid,
        CASE WHEN k.why OPERATOR(pg_catalog.=) 'p' THEN 'p' WHEN u.class OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass THEN 'd' ELSE 'v' END
    FROM kept k
    JOIN uses u ON u.used_class OPERATOR(pg_catalog.=) k.class AND u.used OPERATOR(pg_catalog.=) k.oid
    WHERE u.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
),
why AS MATERIALIZED (
    -- The relation's own kind says more than that it uses another one.
    SELECT k.class, k.oid, pg_catalog.max(k.why) AS why FROM kept k GROUP BY k.class, k.oid
)
SELECT 'f', n.nspname, p.proname, coalesce(w.why, ''),
    p.pronargs OPERATOR(pg_catalog.-) p.pronargdefaults
        OPERATOR(pg_catalog.-) CASE WHEN p.provariadic OPERATOR(pg_catalog.<>) 0::pg_catalog.oid THEN 1 ELSE 0 END,
    CASE WHEN p.provariadic OPERATOR(pg_catalog.<>) 0::pg_catalog.oid THEN 10000 ELSE p.pronargs END,
    CASE WHEN t.typtype OPERATOR(pg_catalog.=) ANY ('{c,p}'::pg_catalog."char"[]) OR d.typtype OPERATOR(pg_catalog.=) 'c'
        THEN 't' ELSE '' END
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
LEFT JOIN why w ON w.class OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass AND w.oid OPERATOR(pg_catalog.=) p.oid
LEFT JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.proargtypes[0]
LEFT JOIN pg_catalog.pg_type d ON d.oid OPERATOR(pg_catalog.=) t.typbasetype
WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
UNION ALL
SELECT 'r', n.nspname, c.relname, coalesce(w.why, ''), 0, 0, ''
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
LEFT JOIN why w ON w.class OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND w.oid OPERATOR(pg_catalog.=) c.oid
WHERE c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f,v,m,S}'::pg_catalog."char"[])
UNION ALL
SELECT 'o', n.nspname, o.oprname, coalesce(w.why, ''), 0, 0, ''
FROM pg_catalog.pg_operator o
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace
LEFT JOIN why w ON w.class OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass AND w.oid OPERATOR(pg_catalog.=) o.oid
WHERE o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
UNION ALL
SELECT 't', n.nspname, t.typname, coalesce(w.why, ''), 0, 0, ''
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.typrelid
LEFT JOIN why w ON w.class OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass AND w.oid OPERATOR(pg_catalog.=) t.oid
WHERE t.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  AND (c.oid IS NULL OR c.relkind OPERATOR(pg_catalog.=) 'c')
