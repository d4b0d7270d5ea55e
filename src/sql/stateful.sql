SELECT ''::text WHERE false
