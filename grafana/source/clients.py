"""Dashboard `clients`: clients, logins and certificates, the audit log, and the process."""

from .panel import floor, limits, lines, query, stat, table
from .words import BAD, DOUBTFUL, GOOD

NEXT = "overview"
DAY = 86400
USE = "sum by (listener) (gatekeeper_clients{@listener}) / (sum by (listener) (gatekeeper_clients_limit{@listener}) > 0)"
DROPPED = "sum(increase(gatekeeper_audit_dropped_total{@all}[$__range]))"


def clients():
    return [
        (8, 8, lines(
            "Clients by state", "Connected clients: logging in, idle, or in a statement or transaction.",
            "many in `login` wait for a password check or a backend; many `active` with few statements are stuck.",
            "none", query("sum by (state) (gatekeeper_clients{@listener})", "{{state}}"), stacked=True,
            colors={"active": "#3274D9", "idle": GOOD, "login": DOUBTFUL})),
        (8, 8, lines(
            "Use of the client limit", "Connected clients as a share of the listener's limit.",
            "before 100 %: raise `max_clients`, or reduce the connections of applications.",
            "percentunit", query(USE, "{{listener}}"), steps=limits(0.8, 0.9), top=1)),
        (8, 8, lines(
            "Connections accepted", "New connections of clients, by listener.",
            "many short connections cost a login each: the application has no connection pool.",
            "cps", query("sum by (listener) (rate(gatekeeper_client_connections_total{@listener}@rate))", "{{listener}}"))),
        (8, 8, lines(
            "Rejected, by reason", "Clients without a session, except failed authentication.",
            "`max_clients…`: limits; `tls…`: the client's settings; `no_endpoint`: the cluster; `internal`: the log.",
            "cps", query("sum by (listener, reason) (rate(gatekeeper_client_refusals_total{@listener}@rate)) > 0",
                         "{{listener}} · {{reason}}"), stacked=True)),
        (8, 8, lines(
            "Failed authentication, by reason", "Clients that failed to authenticate.",
            "a steady rate of `wrong_password` is a forgotten client; a burst is an attack: the audit log has the addresses.",
            "cps", query("sum by (listener, reason) (rate(gatekeeper_authentication_failures_total{@listener}@rate)) > 0",
                         "{{listener}} · {{reason}}"), stacked=True)),
        (8, 8, lines(
            "Sessions ended, by outcome", "In order, or the party responsible: client, endpoint, policy, credentials, Gatekeeper (`us`).",
            "`endpoint` follows a failover; `us` is a bug: report it.",
            "cps", query("sum by (outcome) (rate(gatekeeper_sessions_total{@listener}@rate)) > 0", "{{outcome}}"), stacked=True,
            colors={"ok": GOOD, "us": BAD})),
        (12, 7, lines(
            "Cancel requests", "Cancel requests from clients; requests with an unknown key count as errors.",
            "errors are requests for ended sessions, or guessed keys.",
            "cps", query("sum by (outcome) (rate(gatekeeper_cancel_requests_total{@listener}@rate))", "{{outcome}}"))),
        (12, 7, lines(
            "Failures of accept()", "Failed attempts to accept a connection.",
            "the process or the system is out of file descriptors: raise the limit.",
            "cps", query("sum by (listener) (rate(gatekeeper_accept_errors_total{@listener}@rate))", "{{listener}}"))),
    ]


def identity():
    return [
        (6, 8, lines(
            "Life of tokens", "Time until the token in use is renewed at the latest.",
            "the value rises at each mint; a token at 0 while logins continue cannot be renewed.",
            "s", query("clamp_min(max by (endpoint, backend_role) (gatekeeper_token_expiry_timestamp_seconds{@endpoint}) - time(), 0)",
                       "{{endpoint}} · {{backend_role}}"))),
        (6, 8, lines(
            "Tokens minted", "Tokens minted, and attempts that failed.",
            "the log shows a failure with the output of the token command; in the end, all logins fail.",
            "cps", query("sum by (endpoint, outcome) (rate(gatekeeper_token_mints_total{@endpoint}@rate))", "{{endpoint}} · {{outcome}}"))),
        (6, 8, lines(
            "Time since the last mint", "Time since the last successful mint of a token, by endpoint.",
            "a line that grows beyond the life of a token: nobody uses the endpoint, or minting fails.",
            "s", query("time() - max by (endpoint) (gatekeeper_token_mint_success_timestamp_seconds{@endpoint})", "{{endpoint}}"))),
        (6, 8, lines(
            "Time of a mint", "Time that half and 95 of 100 tokens took to mint, in the last hour.",
            "seconds are usual for `gcloud`; the metadata server answers in milliseconds.",
            "s", query("histogram_quantile(0.5, sum by (le) (rate(gatekeeper_token_mint_duration_seconds_bucket{@endpoint}[1h])))", "p50"),
            query("histogram_quantile(0.95, sum by (le) (rate(gatekeeper_token_mint_duration_seconds_bucket{@endpoint}[1h])))", "p95"))),
        (12, 7, table(
            "Certificates of endpoints", "Time to expiry of server certificates, trusted CAs, and Gatekeeper's client certificate.",
            "changed files are reloaded automatically; the cluster's administrator provides a new CA.", "endpoint", [
                (name, f'min by (endpoint) (gatekeeper_certificate_expiry_timestamp_seconds{{@endpoint, certificate="{kind}"}}) - time()',
                 "s", {"steps": floor(14 * DAY, 3 * DAY)})
                for name, kind in (("CA", "ca"), ("server", "server"), ("ours", "client"))
            ])),
        (12, 7, lines(
            "Certificates for clients", "Time to expiry of each listener's certificate, and of the certificate of the admin API.",
            "install the renewed files: they are reloaded automatically.",
            "s", query("min by (listener) (gatekeeper_listener_certificate_expiry_timestamp_seconds{@listener}) - time()", "{{listener}}"),
            query("min by (instance) (gatekeeper_admin_certificate_expiry_timestamp_seconds{@all}) - time()", "admin API of {{instance}}"))),
    ]


def audit():
    return [
        (6, 7, stat(
            "Audit records lost", "Records dropped in the displayed time range because the queue was full.",
            "any loss is an incident: inform the owner of the audit log, and find the slow disk or writer.",
            "none", DROPPED, limits(bad=1), decimals=0)),
        (9, 7, lines(
            "Audit queue", "Use of the audit queue.",
            "a queue that fills is a slow or full disk; full, it stops statements or loses records, as configured.",
            "percentunit", query("sum by (instance) (gatekeeper_audit_queue_records{@all}) "
                                 "/ (sum by (instance) (gatekeeper_audit_queue_limit_records{@all}) > 0)", "{{instance}}"),
            steps=limits(0.5, 0.8), top=1)),
        (9, 7, lines(
            "Audit records", "Records written, dropped, and writes that failed.",
            "check the disk if any line except `written` is above zero.",
            "wps", query("sum(rate(gatekeeper_audit_records_total{@all}@rate))", "written"),
            query("sum(rate(gatekeeper_audit_dropped_total{@all}@rate))", "dropped"),
            query("sum(rate(gatekeeper_audit_write_errors_total{@all}@rate))", "failed writes"),
            colors={"written": GOOD, "dropped": BAD, "failed writes": DOUBTFUL})),
        (8, 7, lines(
            "Last write of the audit log", "Time since records were last written.",
            "the value grows while idle; with a non-empty queue it must not grow.",
            "s", query("time() - max by (instance) (gatekeeper_audit_write_success_timestamp_seconds{@all})", "{{instance}}"))),
        (8, 7, lines(
            "Requests to the admin API", "Requests by outcome; those without a valid key are denied.",
            "`denied` requests from foreign addresses are attempted intrusions.",
            "reqps", query("sum by (outcome) (rate(gatekeeper_admin_requests_total{@all}@rate))", "{{outcome}}"),
            colors={"ok": GOOD, "denied": DOUBTFUL, "error": BAD})),
        (8, 7, lines(
            "Trace spans", "Spans that the collector accepted, and spans that were dropped.",
            "`error`: the collector is unreachable or too slow. Sessions do not wait for the collector; the log has the reason.",
            "ops", query("sum by (outcome) (rate(gatekeeper_trace_spans_total{@all}@rate))", "{{outcome}}"),
            colors={"ok": GOOD, "error": BAD})),
    ]


def process():
    return [
        (6, 5, stat(
            "Panics", "Panics in the displayed time range: bugs that each ended a task.",
            "report the bug with the log line, which has the position in the source.",
            "none", "sum(increase(gatekeeper_panics_total{@all}[$__range]))", limits(bad=1), decimals=0)),
        (6, 5, stat(
            "Reload refused", "1 if the last reload of the configuration failed: the previous configuration is in use.",
            "`gatekeeper check` prints every mistake; until then the next start will fail.",
            "none", "max(gatekeeper_config_reload_failed{@all})", limits(bad=1))),
        (6, 5, stat(
            "Configuration read", "Time since the configuration was last read successfully.",
            "older than your last change: reload.",
            "s", "time() - min(gatekeeper_config_reload_success_timestamp_seconds{@all})", limits())),
        (6, 5, stat(
            "Running for", "Time since the start of the process that started last.",
            "shorter than expected: the process was restarted. The log has the reason.",
            "s", "time() - max(process_start_time_seconds{@all})", limits())),
        (8, 7, lines(
            "Processor", "Processors in use.",
            "near the number of workers, statements wait in Gatekeeper: raise `workers`, or start another process.",
            "short", query("sum by (instance) (rate(process_cpu_seconds_total{@all}@rate))", "{{instance}}"))),
        (8, 7, lines(
            "Memory", "Resident memory of each process, which the kernel counts as RSS.",
            "grows with clients and large results, and shrinks afterwards; steady growth is a bug: report the bug.",
            "bytes", query("sum by (instance) (process_resident_memory_bytes{@all})", "{{instance}}"))),
        (8, 7, lines(
            "File descriptors", "Open file descriptors as a share of the limit.",
            "raise `LimitNOFILE` before 100 %.",
            "percentunit", query("sum by (instance) (process_open_fds{@all}) / sum by (instance) (process_max_fds{@all})", "{{instance}}"),
            steps=limits(0.7, 0.9))),
        (8, 7, lines(
            "Threads", "Threads of the process.",
            "constant after the start; growth is a bug: report the bug.",
            "none", query("sum by (instance) (process_threads{@all})", "{{instance}}"))),
        (8, 7, lines(
            "Reloads", "Reloads of the configuration and of changed files, by outcome.",
            "the log reports each error with file and line.",
            "none", query("sum by (outcome) (increase(gatekeeper_config_reloads_total{@all}@rate))", "configuration · {{outcome}}"),
            query("sum by (outcome) (increase(gatekeeper_file_reloads_total{@all}@rate))", "files · {{outcome}}"), bars=True)),
        (8, 7, lines(
            "Versions", "Processes by version.",
            "several lines for a long time: a rollout stopped halfway.",
            "none", query("count by (version) (gatekeeper_build_info{@all})", "{{version}}"))),
    ]


def rows():
    return [
        ("Which clients connect, and which are rejected?", clients()),
        ("When do tokens and certificates expire?", identity()),
        ("Is the audit log complete?", audit()),
        ("Is the process healthy?", process()),
    ]
