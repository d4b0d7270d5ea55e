"""New connections per second: plain, TLS, and with a token as the password."""

import secrets

from .common import Bench, median, pgbench, processor_seconds, progress, table

TITLE = "New connections per second"
IAM_USER = "alice@example.com"
# Similar in length to AlloyDB's tokens.
TOKEN = secrets.token_urlsafe(768)


def measure(bench: Bench) -> str:
    rows = []
    hba = bench.workspace.path / "token_hba.conf"
    hba.write_text(f'host all "{IAM_USER}" 127.0.0.1/32 password\nhost all all 127.0.0.1/32 trust\n')
    command = bench.workspace.path / "mint"
    command.write_text(f"#!/bin/sh\necho {TOKEN}\n")
    command.chmod(0o755)
    token_login = {
        "login": f'{{ token_command = ["{command}"], users = ["{IAM_USER}"] }}',
        "auth": '{ method = "trust" }',
    }
    for label, tls, options in (("plain", False, {}), ("TLS", True, {}), ("TLS, token login", True, token_login)):
        server = bench.server(tls=tls, settings={"hba_file": str(hba)})
        user, password = "postgres", ""
        if options:
            user, password = IAM_USER, TOKEN
            server.sql(f"create role \"{user}\" login password '{password}'; grant pg_read_all_data to \"{user}\"")
        proxies = bench.proxies(server.port, client_tls=tls, server_tls=tls, **options)
        for proxy in proxies.values():
            proxy.start()
        rows.append([label, *_cells(bench, server, proxies, tls, user, password)])
        progress(rows[-1])
        for proxy in proxies.values():
            proxy.stop()
        server.stop()
    head = ["login", "direct /s", "relay /s", "Gatekeeper /s", "relay µs", "Gatekeeper µs"]
    return (
        f"{table(head, rows)}\n\n"
        "pgbench with a connection per transaction (`-C -S`), 4 clients; µs is the proxy's processor time per connection. "
        "Certificates are RSA with 2,048 bits; TLS is on both legs. In the last row the server requires a "
        f"password of {len(TOKEN)} bytes: direct and through the relay the client sends the password; Gatekeeper takes the "
        "password from a token command, and clients send none. PostgreSQL forks per connection, which is most of the work.\n"
    )


def _cells(bench: Bench, server, proxies, tls: bool, user: str, password: str):
    options = ["-n", "-S", "-C", "-c", 4, "-j", 2, "-T", bench.settings.seconds]
    rates, costs = {}, {}
    for _ in range(bench.settings.rounds):
        for name in ("direct", *proxies):
            port = server.port if name == "direct" else proxies[name].port
            own = "" if name == "gatekeeper" else password
            before = processor_seconds(proxies[name].process.pid) if name in proxies else 0
            load = pgbench(port, *options, tls=tls, user=user, password=own)
            rates.setdefault(name, []).append(load.per_second)
            if name in proxies:
                spent = processor_seconds(proxies[name].process.pid) - before
                costs.setdefault(name, []).append(spent / load.transactions * 1e6)
    cells = [f"{median(rates[name]):.0f}" if name in rates else "–" for name in ("direct", "relay", "gatekeeper")]
    return cells + [f"{median(costs[name]):.0f}" if name in costs else "–" for name in ("relay", "gatekeeper")]
