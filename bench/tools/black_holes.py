"""Black holes between machines: how long a server keeps a vanished client's backend, and a client waits for a vanished server.

Usage, as root: `black_holes.py GATEKEEPER [CASE ...]`. Three network namespaces with a bridge between them stand for the
machines of the client, of Gatekeeper and of PostgreSQL. A machine vanishes when its link goes down: no FIN, no RST.
Takes about 12 minutes. All namespaces, processes and files end with the script.
"""

import ctypes
import glob
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

CLIENT, GATEKEEPER, SERVER, BRIDGE = "bh-client", "bh-gatekeeper", "bh-server", "bh-bridge"
ADDRESS = {CLIENT: "10.99.0.1", GATEKEEPER: "10.99.0.2", SERVER: "10.99.0.3"}
POOLED, DEDICATED = 15432, 15433
LIMIT = 150
CONFIG = """
[[cluster]]
name = "orders"
tls = { mode = "disable" }

[[cluster.endpoint]]
name = "primary"
role = "primary"
address = "10.99.0.3:5432"
insecure_plaintext = true
login = { user = "postgres", password = "unused" }

[[listener]]
name = "pooled"
bind = "10.99.0.2:15432"
route = "primary"
insecure_trust = true
auth = { method = "trust" }
pool = { mode = "transaction", size = 20 }
hold = "15s"

[[listener]]
name = "dedicated"
bind = "10.99.0.2:15433"
route = "primary"
insecure_trust = true
auth = { method = "trust" }
hold = "15s"
"""


def shell(command, check=True):
    return subprocess.run(command, shell=True, check=check, capture_output=True, text=True).stdout


class Network:
    """Three namespaces behind a bridge."""

    def __enter__(self):
        self.remove()
        for name in (*ADDRESS, BRIDGE):
            shell(f"ip netns add {name} && ip netns exec {name} ip link set lo up")
        shell(f"ip -n {BRIDGE} link add br0 type bridge && ip -n {BRIDGE} link set br0 up")
        for number, (name, address) in enumerate(ADDRESS.items()):
            shell(f"ip link add bh{number} netns {name} type veth peer name port{number} netns {BRIDGE}")
            shell(f"ip -n {BRIDGE} link set port{number} master br0 up")
            shell(f"ip -n {name} addr add {address}/24 dev bh{number} && ip -n {name} link set bh{number} up")
        return self

    def __exit__(self, *_error):
        self.remove()

    @staticmethod
    def remove():
        for name in (*ADDRESS, BRIDGE):
            shell(f"ip netns del {name}", check=False)

    @staticmethod
    def set_link(name, state):
        shell(f"ip -n {name} link set bh{list(ADDRESS).index(name)} {state}")


class Server:
    """PostgreSQL on its machine; queries of the script use a Unix-domain socket."""

    def __init__(self, folder):
        self.folder = folder
        self.account = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self.programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        data = f"{folder}/data"
        initdb = [f"{self.programs}/initdb", "-A", "trust", "-U", "postgres", "-D", data]
        subprocess.run(self.account + initdb, check=True, capture_output=True)
        with open(f"{data}/pg_hba.conf", "w", encoding="utf-8") as hba:
            hba.write("local all all trust\nhost all all 10.99.0.0/24 trust\n")
        postgres = [f"{self.programs}/postgres", "-D", data, "-c", "listen_addresses=*"]
        postgres += ["-c", f"unix_socket_directories={folder}"]
        self.process = subprocess.Popen(["ip", "netns", "exec", SERVER, *self.account, *postgres],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: self.query("SELECT 1") == "1", 30)

    def query(self, sql):
        psql = ["psql", "-h", self.folder, "-U", "postgres", "-d", "postgres", "-Atc", sql]
        return subprocess.run(psql, capture_output=True, text=True, check=False).stdout.strip()

    def busy_backends(self):
        return self.query("SELECT count(*) FROM pg_stat_activity WHERE client_addr IS NOT NULL AND state <> 'idle'")


class Client:
    """A connection of a client, in PostgreSQL's protocol."""

    def __init__(self, port, receive_buffer=None):
        self.socket = open_socket(port, receive_buffer)
        startup = b"user\0postgres\0database\0postgres\0\0"
        self.socket.sendall(struct.pack("!II", len(startup) + 8, 196608) + startup)
        self.read()

    def receive(self, count):
        received = b""
        while len(received) < count:
            chunk = self.socket.recv(count - len(received))
            if not chunk:
                raise EOFError
            received += chunk
        return received

    def send(self, sql):
        text = sql.encode() + b"\0"
        self.socket.sendall(b"Q" + struct.pack("!I", len(text) + 4) + text)

    def read(self):
        """Messages up to ReadyForQuery or a FATAL: the count of rows, and severity and SQLSTATE of the last error."""
        rows, error = 0, None
        while True:
            tag, length = struct.unpack("!cI", self.receive(5))
            body = self.receive(length - 4)
            rows += tag == b"D"
            if tag == b"E":
                fields = {field[:1]: field[1:].decode() for field in body.split(b"\0") if field}
                error = f"{fields[b'S']} {fields[b'C']}"
            if tag == b"Z" or (error or "").startswith("FATAL"):
                return rows, error

    def ask(self, sql):
        self.send(sql)
        return self.read()


def enter_namespace(file):
    if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0):
        raise OSError(ctypes.get_errno(), "setns")


def open_socket(port, receive_buffer):
    """A connection from the client's machine: a socket belongs to the namespace of its making."""
    with open("/proc/self/ns/net", "rb") as own, open(f"/run/netns/{CLIENT}", "rb") as other:
        enter_namespace(other)
        try:
            connection = socket.socket()
            if receive_buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.connect((ADDRESS[GATEKEEPER], port))
            return connection
        finally:
            enter_namespace(own)


def wait_until(condition, limit):
    """Seconds until `condition`; None after `limit`."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > limit:
            return None
        time.sleep(0.1)
    return time.monotonic() - begun


ROWS = "SELECT generate_series(1, 100000000), repeat('x', 1000)"


def idle_in_transaction():
    client = Client(POOLED)
    client.ask("BEGIN")
    client.ask("SELECT 1")
    return client


def running_statement():
    client = Client(POOLED)
    client.send("SELECT pg_sleep(600)")
    return client


def unread_result():
    client = Client(POOLED, receive_buffer=4096)
    client.send(ROWS)
    return client


def read_result():
    client = Client(POOLED)
    client.send(ROWS)

    def read():
        try:
            while client.socket.recv(1 << 16):
                pass
        except OSError:
            pass

    threading.Thread(target=read, daemon=True).start()
    return client


def unacknowledged_response(port=POOLED):
    client = Client(port)
    client.ask("BEGIN")
    client.send("SELECT pg_sleep(2)")
    return client


def full_pipeline():
    """More than Gatekeeper reads while the statement runs."""
    client = running_statement()
    client.socket.settimeout(1)
    try:
        while True:
            client.send("SELECT '" + "x" * 10000 + "'")
    except OSError:
        return client


VANISHED_CLIENTS = {
    "idle in a transaction": idle_in_transaction,
    "statement running": running_statement,
    "result unread, window closed": unread_result,
    "result being read": read_result,
    "response in a transaction unacknowledged": unacknowledged_response,
    "the same, dedicated": lambda: unacknowledged_response(DEDICATED),
    "pipeline that Gatekeeper does not read": full_pipeline,
}


def vanished_client(server, prepare):
    client = prepare()
    time.sleep(1)
    Network.set_link(CLIENT, "down")
    took = wait_until(lambda: server.busy_backends() == "0", LIMIT)
    Network.set_link(CLIENT, "up")
    client.socket.close()
    return f"backend free after {took:.0f} s" if took else f"backend not free after {LIMIT} s"


def slow_reader(_server):
    client = Client(POOLED, receive_buffer=4096)
    client.send("SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
    time.sleep(120)
    rows, error = client.read()
    return f"{rows} of 20000 rows after 120 s, {error or 'no error'}"


def vanished_server(_server, port, sql_before, in_transaction):
    client = Client(port)
    if in_transaction:
        client.ask("BEGIN")
    client.ask("SELECT 1")
    if sql_before:
        client.send(sql_before)
        time.sleep(1)
    Network.set_link(SERVER, "down")
    begun = time.monotonic()
    if not sql_before:
        client.send("SELECT 2")
    _, error = client.read()
    took = time.monotonic() - begun
    Network.set_link(SERVER, "up")
    time.sleep(5)
    return f"{error} after {took:.0f} s (hold is 15 s)"


CASES = {
    **{f"client, {name}": lambda server, prepare=prepare: vanished_client(server, prepare)
       for name, prepare in VANISHED_CLIENTS.items()},
    "client that is alive and does not read": slow_reader,
    "server, statement sent before":
        lambda server: vanished_server(server, POOLED, "SELECT pg_sleep(600)", True),
    "server, statement sent after": lambda server: vanished_server(server, POOLED, None, True),
    "server, dedicated": lambda server: vanished_server(server, DEDICATED, None, False),
}


def main(program, *wanted):
    folder = tempfile.mkdtemp(dir="/dev/shm")
    os.chmod(folder, 0o777)
    processes = []
    try:
        with Network():
            server = Server(folder)
            processes.append(server.process)
            with open(f"{folder}/gatekeeper.toml", "w", encoding="utf-8") as config:
                config.write(CONFIG)
            command = ["ip", "netns", "exec", GATEKEEPER, program, "run", "--config", config.name]
            processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            time.sleep(3)
            for name, case in CASES.items():
                if not wanted or name in wanted:
                    print(f"| {name} | {case(server)} |", flush=True)
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
