SELECT pg_catalog.concat_ws(' ',
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.bit_xor(pg_catalog.hashtextextended(
        pg_catalog.concat(p.oid, ' ', p.xmin), 0)))
     FROM pg_catalog.pg_proc p WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.bit_xor(pg_catalog.hashtextextended(
        pg_catalog.concat(c.oid, ' ', c.relname, ' ', c.relkind, ' ', c.relhasrules, c.relhastriggers, c.relrowsecurity, c.relpersistence, c.relnamespace), 0)))
     FROM pg_catalog.pg_class c
     WHERE c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
       AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f,v,m,c,i,I,S}'::pg_catalog."char"[])),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.bit_xor(pg_catalog.hashtextextended(
        pg_catalog.concat(n.oid, ' ', n.nspname), 0)))
     FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.!~) '^pg_(toast_)?temp_'),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.bit_xor(pg_catalog.hashtextextended(
        pg_catalog.concat(t.oid, ' ', t.xmin), 0)))
     FROM pg_catalog.pg_trigger t),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.bit_xor(pg_catalog.hashtextextended(
        pg_catalog.concat(r.oid, ' ', r.xmin), 0)))
     FROM pg_catalog.pg_rewrite r WHERE r.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.bit_xor(pg_catalog.hashtextextended(
        pg_catalog.concat(d.oid, ' ', d.xmin), 0)))
     FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) d.adrelid
     WHERE c.relpersistence OPERATOR(pg_catalog.<>) 't'),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.bit_xor(pg_catalog.hashtextextended(
        pg_catalog.concat(k.oid, ' ', k.xmin), 0)))
     FROM pg_catalog.pg_constraint k WHERE k.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
       AND k.contype OPERATOR(pg_catalog.=) ANY ('{c,f}'::pg_catalog."char"[])),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.bit_xor(pg_catalog.hashtextextended(
        pg_catalog.concat(t.oid, ' ', t.xmin), 0)))
     FROM pg_catalog.pg_type t WHERE t.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
       AND t.typtype OPERATOR(pg_catalog.=) ANY ('{d,r}'::pg_catalog."char"[])),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.bit_xor(pg_catalog.hashtextextended(
        pg_catalog.concat(p.oid, ' ', p.xmin), 0)))
     FROM pg_catalog.pg_policy p),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.bit_xor(pg_catalog.hashtextextended(
        pg_catalog.concat(i.inhrelid, ' ', i.inhparent), 0)))
     FROM pg_catalog.pg_inherits i),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.bit_xor(pg_catalog.hashtextextended(
        pg_catalog.concat(o.oid, ' ', o.xmin), 0)))
     FROM pg_catalog.pg_operator o WHERE o.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.bit_xor(pg_catalog.hashtextextended(
        pg_catalog.concat(k.oid, ' ', k.xmin), 0)))
     FROM pg_catalog.pg_cast k WHERE k.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.bit_xor(pg_catalog.hashtextextended(
        pg_catalog.concat(e.oid, ' ', e.xmin), 0)))
     FROM pg_catalog.pg_event_trigger e))
