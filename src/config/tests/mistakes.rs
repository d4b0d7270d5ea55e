//! Mistakes in single values.

use super::*;

#[test]
fn each_mistake_is_named_with_its_place_and_what_to_write() {
    check(
        mistakes,
        &[
            (
                &[("role = \"primary\"", "rolle = \"primary\"")],
                &[
                    "g.toml:4:1: endpoint.primary.role: is missing; write role = \"primary\"",
                    "g.toml:6:1: endpoint.primary.rolle: unknown key; did you mean `role`?",
                ],
            ),
            (
                &[("name = \"orders\"", "name = \"Orders\"")],
                &[
                    "g.toml:2:8: cluster.Orders.name: `O` is not allowed: lower-case letters, digits, `-` and `_`, beginning with a letter or digit; write a name as in \"orders\"",
                ],
            ),
            (
                &[("name = \"orders\"\n", "colour = 1\n")],
                &[
                    "g.toml:1:1: cluster.?.name: is missing; write name = \"orders\"",
                    "g.toml:2:1: cluster.?.colour: unknown key; known here: name, region, replica_of, ca_file, login, tls, endpoint",
                ],
            ),
            (
                &[("role = \"primary\"", "role = \"read_pool\"")],
                &[
                    "g.toml:6:8: endpoint.primary.role: cannot be \"read_pool\"; write one of \"primary\", \"replica\", \"read-pool\", \"secondary\" (did you mean \"read-pool\"?)",
                ],
            ),
            (
                &[("role = \"primary\"", "role = 1")],
                &[
                    "g.toml:6:8: endpoint.primary.role: cannot be a number; write one of \"primary\", \"replica\", \"read-pool\", \"secondary\"",
                ],
            ),
            (
                &[("127.0.0.1:5432", "127.0.0.1:x")],
                &[
                    "g.toml:7:11: endpoint.primary.address: `x` is not a valid port: use a number from 1 to 65535; write a host and a port, as in \"10.20.30.40:5432\", or the path of a socket",
                ],
            ),
            (
                &[("address = ", "#")],
                &["g.toml:4:1: endpoint.primary.address: is missing; write address = \"10.20.30.40:5432\""],
            ),
            (
                &[("127.0.0.1:15432", "app.internal:15432")],
                &[
                    "g.toml:11:8: listener.app.bind: cannot listen on \"app.internal:15432\"; write an IP address and a port, as in \"127.0.0.1:15432\" or \"[::]:15432\", or the path of a socket",
                ],
            ),
            (
                &[("route = \"primary\"", "route = \"endpoint:primari\"")],
                &[
                    "g.toml:12:9: listener.app.route: unknown endpoint `primari`; did you mean \"endpoint:primary\"?",
                ],
            ),
            (
                &[("route = \"primary\"", "route = \"anywhere\"")],
                &[
                    "g.toml:12:9: listener.app.route: cannot be \"anywhere\"; write one of \"primary\", \"read-pool\", \"secondary\", \"split\", \"endpoint:NAME\"",
                ],
            ),
            (
                &[("route = \"primary\"", "")],
                &["g.toml:9:1: listener.app.route: is missing; write route = \"primary\""],
            ),
            (
                &[("[[listener]]", "[listener]")],
                &["g.toml:9:1: listener: cannot be a table; write [[listener]], once for each"],
            ),
            (
                &[(
                    "route = \"primary\"",
                    "route = \"primary\"\npool = { mode = \"transaction\", size = 20 }",
                )],
                &[
                    "g.toml:13:17: listener.app.pool.mode: a client that authenticates at the server itself keeps that backend for life; give the endpoint a token command or a password and the listener auth = { method = \"scram\", … }, or write \"session\"",
                ],
            ),
            (
                &[("route = \"primary\"", "route = \"primary\"\npool = { size = 2, min_idle = 3 }")],
                &[
                    "g.toml:13:31: listener.app.pool.min_idle: a pool of 2 backends cannot keep 3 idle; write 2 at most, or a larger `pool.size`",
                ],
            ),
            (
                &[(
                    "route = \"primary\"",
                    "route = \"primary\"\npool = { pin_on_functions = [\"f\", \"s.g()\"], size = 0 }",
                )],
                &[
                    "g.toml:13:35: listener.app.pool.pin_on_functions: cannot be \"s.g()\"; write the function's name alone, without a schema, parentheses or quotes",
                    "g.toml:13:52: listener.app.pool.size: cannot be 0; write a whole number from 1 to 1000000000",
                ],
            ),
            (
                &[("route = \"primary\"", "route = \"primary\"\nwhen_no_reader = \"refuse\"")],
                &[
                    "g.toml:13:18: listener.app.when_no_reader: goes with route = \"read-pool\" or \"split\" only; remove it",
                ],
            ),
            (
                &[("route = \"primary\"", "route = \"primary\"\nlogin_timeout = 10\nmax_clients = 0")],
                &[
                    "g.toml:13:17: listener.app.login_timeout: cannot be 10; write a number with its unit (ms, s, m, h, d), as in \"500ms\", \"10s\", \"1m30s\"",
                    "g.toml:14:15: listener.app.max_clients: cannot be 0; write a whole number from 1 to 1000000000",
                ],
            ),
            (
                &[("route = \"primary\"", "route = \"primary\"\nresolve_commits = true")],
                &[
                    "g.toml:13:19: listener.app.resolve_commits: a session with a backend for life ends with its backend, and gets no outcome of its COMMIT; write pool = { mode = \"transaction\", … }, or remove the key",
                ],
            ),
            (
                &[(
                    "route = \"primary\"",
                    "route = \"primary\"\nresolve_commits = true\non_backend_loss = \"disconnect\"",
                )],
                &[
                    "g.toml:13:19: listener.app.resolve_commits: a client that is disconnected gets no outcome of its COMMIT; write on_backend_loss = \"error\"",
                ],
            ),
            (
                &[("route = \"primary\"", "route = \"primary\"\nlogin_timeout = \"0\"")],
                &[
                    "g.toml:13:17: listener.app.login_timeout: cannot be zero; write how long it may take (default \"10s\")",
                ],
            ),
            (
                &[("route = \"primary\"", "route = \"primary\"\nauth = \"trust\"")],
                &["g.toml:13:8: listener.app.auth: cannot be a string; write a table: auth = { … }"],
            ),
            (
                &[("route = \"primary\"", "route = \"primary\"\nauth = { method = \"scram\" }")],
                &[
                    "g.toml:13:8: listener.app.auth.users_file: is missing; write users_file = \"users.toml\"",
                    "g.toml:13:19: listener.app.auth.method: Gatekeeper would verify clients itself and then could not log in to `primary`; write \"passthrough\" or \"password\", or give the endpoint a token command or a password",
                ],
            ),
            (
                &[("route = \"primary\"", "route = \"primary\"\nauth = { users_file = \"u\" }")],
                &[
                    "g.toml:13:23: listener.app.auth.users_file: goes with method = \"scram\" only; remove it, or write \"scram\"",
                ],
            ),
            (
                &[("route = \"primary\"", "route = \"primary\"\ntls = { cert = \"c\" }")],
                &["g.toml:13:16: listener.app.tls.cert: a certificate needs its key; write `tls.key`"],
            ),
            (
                &[("route = \"primary\"", "route = \"primary\"\ntls = { required = true }")],
                &[
                    "g.toml:13:7: listener.app.tls.cert: is missing; write tls = { cert = \"tls.crt\", key = \"tls.key\" }",
                ],
            ),
            (
                &[("[[cluster]]\n", "[[cluster]]\nreplica_of = \"order\"\n")],
                &["g.toml:2:14: cluster.orders.replica_of: unknown cluster `order`; name one of: orders"],
            ),
            (
                &[(
                    "[[listener]]",
                    "[log]\nlevel = \"gatekeeper=loud\"\nformat = \"yaml\"\n[runtime]\nworkers = 0\ndrain_delay = \"1 min\"\n[probe]\ninterval = 3.5\nfailures = -1\n[[listener]]",
                )],
                &[
                    "g.toml:10:9: log.level: \"gatekeeper=loud\" is not a valid filter: error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5; write a level (error, warn, info, debug, trace) or a filter as in \"info,gatekeeper::tls=debug\"",
                    "g.toml:11:10: log.format: cannot be \"yaml\"; write one of \"text\", \"json\"",
                    "g.toml:13:11: runtime.workers: cannot be 0; write a whole number from 1 to 1024",
                    "g.toml:14:15: runtime.drain_delay: cannot be \"1 min\"; write a number with its unit (ms, s, m, h, d), as in \"500ms\", \"10s\", \"1m30s\"",
                    "g.toml:16:12: probe.interval: cannot be a number with a fraction; write a number with its unit (ms, s, m, h, d), as in \"500ms\", \"10s\", \"1m30s\"",
                    "g.toml:17:12: probe.failures: cannot be -1; write a whole number from 1 to 1000000000",
                ],
            ),
            (
                &[("[[listener]]", "[audit]\nrotate_size = \"10MB\"\n[[listener]]")],
                &[
                    "g.toml:9:1: audit.file: is missing; write file = \"/var/log/gatekeeper/audit.jsonl\", or \"-\" for standard output",
                    "g.toml:10:15: audit.rotate_size: cannot be \"10MB\"; write a number with its unit (B, KiB, MiB, GiB), as in \"512B\", \"8KiB\", \"64MiB\"",
                ],
            ),
            (
                &[("[[listener]]", "[audit]\nfile = \"-\"\nrotate_size = \"1MiB\"\n[[listener]]")],
                &[
                    "g.toml:11:15: audit.rotate_size: only a file can be rotated; remove it, or write to a file",
                ],
            ),
            (
                &[("[[listener]]", "[admin]\nbind = \"0.0.0.0:8080\"\n[[listener]]")],
                &[
                    "g.toml:10:8: admin.api_key: other machines can reach 0.0.0.0:8080, so the admin API needs a key; write api_key = { env = \"ADMIN_API_KEY\" } and set that variable",
                ],
            ),
            (
                &[(
                    "[[listener]]",
                    "[admin]\nbind = \"127.0.0.1:15432\"\napi_key = { env = \"NOT_SET\" }\n[[listener]]",
                )],
                &[
                    "g.toml:10:8: admin.bind: listener `app` listens on 127.0.0.1:15432 already; write another port in `admin.bind`",
                    "g.toml:11:11: admin.api_key: the variable NOT_SET is not set or empty; set NOT_SET",
                ],
            ),
            (
                &[("[[listener]]", "[admin]\napi_key = { env = \"A\", file = \"b\" }\n[[listener]]")],
                &[
                    "g.toml:10:11: admin.api_key: has to say one place; write { env = \"VARIABLE\" } or { file = \"/path/to/secret\" }",
                ],
            ),
            (
                &[("[[listener]]", "[admin]\napi_key = { file = \"/nowhere/key\" }\n[[listener]]")],
                &[
                    "g.toml:10:11: admin.api_key: cannot read /nowhere/key: No such file or directory (os error 2); name a file that this process may read",
                ],
            ),
            (
                &[("[[listener]]", "[admin]\napi_key = \"\"\n[[listener]]")],
                &[
                    "g.toml:10:11: admin.api_key: cannot be empty; write { env = \"VARIABLE\" } or { file = \"/path/to/secret\" }",
                ],
            ),
            (
                &[("[[listener]]", "[admin]\nviewer_key = \"v\"\nmetrics_prefix = \"9-x\"\n[[listener]]")],
                &[
                    "g.toml:10:14: admin.viewer_key: without `api_key`, everybody who reaches the admin API may do everything; write api_key = { env = \"ADMIN_API_KEY\" } and set that variable",
                    "g.toml:11:18: admin.metrics_prefix: \"9-x\" cannot begin the name of a metric; write letters, digits and underscores, as in \"alloydb_gatekeeper\"",
                ],
            ),
            (
                &[("[[listener]]", "[admin]\napi_key = \"k\"\nviewer_key = \"k\"\n[[listener]]")],
                &[
                    "g.toml:11:14: admin.viewer_key: is the same key as `api_key`; choose another key for viewers",
                ],
            ),
            (
                &[("name = \"orders\"", "name = ")],
                &[
                    "g.toml:2:8: invalid TOML: string values must be quoted, expected literal string; https://toml.io describes the format",
                ],
            ),
            (
                &[(
                    "[[cluster.endpoint]]",
                    "[[cluster.endpoint]]\ntls = { mode = \"verify-full\", negotiation = \"direct\", server_name = \"a b\", moed = 1 }",
                )],
                &[
                    "g.toml:5:69: endpoint.primary.tls.server_name: \"a b\" is not a DNS name or address; write a name as in the server's certificate",
                    "g.toml:5:76: endpoint.primary.tls.moed: unknown key; did you mean `mode`?",
                ],
            ),
            (
                &[("[[cluster.endpoint]]", "[[cluster.endpoint]]\ntls = { negotiation = \"direct\" }")],
                &[
                    "g.toml:5:23: endpoint.primary.tls.negotiation: \"direct\" needs TLS, and the mode is \"prefer\"; write the mode \"verify-ca\" or \"verify-full\"",
                ],
            ),
            (
                &[(
                    "[[cluster.endpoint]]",
                    "[[cluster.endpoint]]\ntls = { mode = \"require\", cert = \"x\" }",
                )],
                &["g.toml:5:34: endpoint.primary.tls.cert: a certificate needs its key; write `tls.key`"],
            ),
        ],
    );
}
