"""A step of a conversation: the turn of a client, and the expected responses."""

import json
import re
from collections import deque
from dataclasses import dataclass, field

from lab.frames import END, Client, Frame, encode

# Silence after which a direct response counts as complete, where the protocol does not mark the end.
QUIET_SECONDS = 0.25
# Time limit of a complete response.
ANSWER_SECONDS = 6

# Statements that may pin a session. The client of such a session counts as holding a backend until the end.
PINS = re.compile(
    r"listen|temp|advisory|declare|\bprepare\b|\bexecute s\d|kept|lastval|\bdo\b|leaves|leaving|set_config|triggering|made_|<\+>|copy|session auth",
    re.IGNORECASE,
)
# Statements whose effect outlives the session. After a disconnect, the server may or may not have executed such a
# statement.
LASTING = re.compile(r"kept|insert|update|delete|create|drop|alter|notify|truncate|copy", re.IGNORECASE)


@dataclass
class Step:
    """`act` is `send`, `send_and_disconnect` (does not wait for the response), `disconnect` or `terminate`."""

    client: int
    act: str = "send"
    messages: list = field(default_factory=list)
    # Offsets at which the bytes are split into writes.
    cuts: list = field(default_factory=list)

    def line(self) -> str:
        words = {"client": self.client, "act": self.act}
        if self.messages:
            words["messages"] = self.messages
        if self.cuts:
            words["cuts"] = self.cuts
        return json.dumps(words, ensure_ascii=False)

    @classmethod
    def read(cls, line: str) -> "Step":
        return cls(**json.loads(line))

    def bytes(self) -> bytes:
        return b"".join(map(encode, self.messages))

    def sql(self) -> str:
        """All text inside."""
        return "; ".join(str(part) for message in self.messages for part in message[1:])


def script(steps) -> str:
    return "".join(f"{step.line()}\n" for step in steps)


def read_script(text: str) -> list[Step]:
    return [Step.read(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]


class Pending:
    """Pending responses of a server, by the rules of the protocol.

    An entry is the type of the request. `expected` counts the entries that a Sync, Flush or Query makes the server
    send.
    """

    def __init__(self):
        self.queue: deque[str] = deque()
        self.expected = 0
        self.skipping = False
        self.copying = False
        # True between an extended-protocol message and Sync: a flushed response leaves the batch open.
        self.batch = False
        self.status = "I"

    def send(self, messages):
        for message in messages:
            tag = message[0]
            if self.copying:
                # The server ignores other messages until the end of the COPY.
                if tag in "cf":
                    self.copying = False
                    self.expected = len(self.queue)
                continue
            if tag in "QPBDCEFS" and not (self.skipping and tag != "S"):
                self.queue.append(tag)
            if tag == "S":
                self.skipping = False
            if tag in "PBDCESQF":
                self.batch = tag in "PBDCE"
            if tag in "QSHF":
                self.expected = len(self.queue)

    @property
    def open(self) -> bool:
        """True if the session is in the middle of a batch or a COPY."""
        return bool(self.queue) or self.skipping or self.copying or self.batch

    def done(self) -> bool:
        return self.expected <= 0 or not self.queue

    def take(self, frame: Frame, rest: list):
        """Notes a response; `rest` are the messages sent by then."""
        if frame.tag == "Z":
            self.status = frame.body.decode()
        if not self.queue:
            return
        first = self.queue[0]
        ends = {"P": "1", "B": "2", "C": "3", "D": "Tn", "E": "CsI", "Q": "Z", "F": "Z", "S": "Z"}[first]
        if frame.tag in ends:
            self.pop()
        elif frame.tag == "E" and first not in "QFS":
            # The server skips to the Sync.
            while self.queue and self.queue[0] != "S":
                self.pop()
            self.skipping = not self.queue
        elif frame.tag == "G":
            self.begin_copy(rest)

    def begin_copy(self, rest):
        """COPY FROM STDIN consumes all messages after the statement, up to CopyDone or CopyFail."""
        if not any(message[0] in "cf" for message in rest):
            # The server ignores Sync until CopyDone or CopyFail.
            self.queue = deque(tag for tag in self.queue if tag != "S")
            self.copying = True
            self.expected = 0

    def pop(self):
        self.queue.popleft()
        self.expected -= 1


@dataclass
class Answer:
    frames: list[Frame]
    silent: bool = False


class Reference:
    """A direct client of the server: finds the length of each response."""

    def __init__(self, client: Client):
        self.client = client
        self.pending = Pending()

    def send(self, step: Step) -> Answer:
        self.pending.send(step.messages)
        self.client.send(step.bytes(), step.cuts)
        frames = []
        while not self.pending.done():
            frame = self.client.receive(ANSWER_SECONDS if self.certain() else QUIET_SECONDS)
            if frame is None:
                # Further messages come with a later response, if at all.
                self.pending.expected = 0
                break
            frames.append(frame)
            if frame == END:
                break
            self.pending.take(frame, step.messages)
        return Answer(frames)

    def unrequested(self) -> list[Frame]:
        """Unrequested messages: an error in a batch is sent at once."""
        frames = []
        while self.pending.queue and (frame := self.client.receive(QUIET_SECONDS)) is not None:
            frames.append(frame)
            if frame == END:
                break
            self.pending.take(frame, [])
        return frames

    def certain(self) -> bool:
        """True if a response must come: ReadyForQuery is due, and no COPY is active."""
        return bool(self.pending.queue) and self.pending.queue[-1] in "QSF" and not self.pending.copying

    @property
    def holds(self) -> bool:
        """True if a pooler cannot give the session's backend to others now."""
        return self.pending.status != "I" or self.pending.open


class ProxiedClient:
    """A client through Gatekeeper: reads as many messages as the reference received."""

    def __init__(self, client: Client):
        self.client = client

    def send(self, step: Step, count: int) -> Answer:
        self.client.send(step.bytes(), step.cuts)
        frames = []
        while len(frames) < count:
            frame = self.client.receive(ANSWER_SECONDS)
            if frame is None:
                return Answer(frames, silent=True)
            frames.append(frame)
            if frame == END:
                break
        return Answer(frames)
