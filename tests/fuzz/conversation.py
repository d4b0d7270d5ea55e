"""A conversation of a few clients, run directly and through Gatekeeper: the responses must be equal."""

import random
import time
from dataclasses import dataclass

from grammar import OWN_STATE, Generator
from lab.frames import END, Frame
from stage import CLIENTS_MAX, Stage
from steps import PINS, Answer, ProxiedClient, Reference, Step

STEPS = 30


@dataclass
class Difference:
    """First difference between the responses; `step` counts from 0."""

    mode: str
    size: int
    step: int
    sent: str
    direct: list[Frame]
    through: list[Frame]
    silent: bool = False
    what: str = ""

    def sides(self) -> tuple[str, str]:
        """First differing messages: from the server, and through Gatekeeper."""
        if self.what:
            return "", self.what
        same = 0
        while same < min(len(self.direct), len(self.through)) and self.direct[same] == self.through[same]:
            same += 1
        ending = "silence" if self.silent else "nothing"
        tails = [" ".join(map(repr, frames[same : same + 4])) or ending for frames in (self.direct, self.through)]
        return tails[0], tails[1]

    def kind(self) -> tuple:
        """Differences of the same kind probably have the same cause."""
        return self.mode, *(" ".join(word[:9] for word in side.split(" ")[:2]) for side in self.sides())

    def __str__(self):
        direct, through = self.sides()
        return f"{self.mode}, pool of {self.size}, step {self.step}: {self.sent[:300]}\n    direct  {direct[:1500]}\n    through {through[:1500]}"


class Impossible(Exception):
    """The conversation needs more backends than the pool has."""


class DirectRun:
    """The clients of a conversation, connected directly to the server."""

    def __init__(self, stage: Stage):
        self.stage = stage
        self.clients: list[Reference | None] = [None] * CLIENTS_MAX
        self.pinned = [False] * CLIENTS_MAX

    def client(self, at: int) -> Reference:
        if self.clients[at] is None:
            self.clients[at] = Reference(self.stage.client("direct", 0))
            self.pinned[at] = False
        return self.clients[at]

    def holders(self) -> set[int]:
        """Clients that hold a backend of a pool, or may do so."""
        return {
            at for at, client in enumerate(self.clients) if client is not None and (client.holds or self.pinned[at])
        }

    def may_act(self, at: int, size: int) -> bool:
        holders = self.holders()
        return at in holders or len(holders) < size

    def act(self, step: Step) -> Answer:
        """Runs a step; returns the response of the server."""
        client = self.client(step.client)
        if PINS.search(step.sql()) or any(message[0] == "F" for message in step.messages):
            self.pinned[step.client] = True
        answer = Answer([])
        if step.act == "send":
            answer = client.send(step)
            if END in answer.frames:
                self.clients[step.client] = None
        else:
            if step.act == "send_and_disconnect":
                client.client.send(step.bytes(), step.cuts)
            if step.act == "terminate":
                answer.frames = client.unrequested()
            client.client.terminate() if step.act == "terminate" else client.client.disconnect()
            self.clients[step.client] = None
        return answer

    def close(self):
        disconnect_all(self.clients)

    def last_steps(self, at: int) -> list[Step]:
        """Steps that end the session of a connected client: the client reads the session state and terminates."""
        client = self.clients[at]
        steps = []
        if client.pending.copying:
            steps.append([["f", "enough"]])
        if client.pending.open:
            steps.append([["S"]])
        steps += [[["Q", "ROLLBACK"]], [["Q", OWN_STATE]]]
        return [Step(at, "send", messages) for messages in steps] + [Step(at, "terminate")]


@dataclass
class Conversation:
    seed: int
    size: int
    steps: list[Step]
    answers: list[Answer]
    notified: list


def draw(stage: Stage, seed: int, generator=Generator) -> Conversation:
    """Draws a random conversation, and runs the conversation direct."""
    stage.prepare("direct")
    chance = random.Random(seed)
    clients, size = chance.randint(1, CLIENTS_MAX), chance.randint(1, 2)
    requests = generator(chance)
    direct_run = DirectRun(stage)
    steps: list[Step] = []
    answers: list[Answer] = []

    def act(step: Step):
        steps.append(step)
        answers.append(direct_run.act(step))

    try:
        for _ in range(STEPS):
            able = [at for at in range(clients) if direct_run.may_act(at, size)]
            at = chance.choice(able)
            pending = direct_run.client(at).pending
            act(requests.step(at, pending.status, bool(pending.queue) or pending.skipping, pending.copying))
        finish(direct_run, act)
        return Conversation(seed, size, steps, answers, [])
    finally:
        direct_run.close()


def finish(direct_run: DirectRun, act):
    """All clients terminate; clients that hold a backend come first."""
    for at in sorted(range(CLIENTS_MAX), key=lambda at: at not in direct_run.holders()):
        while direct_run.clients[at] is not None:
            for step in direct_run.last_steps(at):
                act(step)
                if direct_run.clients[at] is None:
                    break


def repeat(stage: Stage, steps: list[Step], size: int) -> Conversation:
    """Runs the conversation of a script direct.

    Raises Impossible if a client would have to wait for another client's backend.
    """
    stage.prepare("direct")
    direct_run = DirectRun(stage)
    answers = []
    try:
        for step in steps:
            if not direct_run.may_act(step.client, size):
                raise Impossible
            answers.append(direct_run.act(step))
        return Conversation(0, size, steps, answers, [])
    finally:
        direct_run.close()


def run_through(stage: Stage, mode: str, conversation: Conversation) -> Difference | None:
    """Runs the conversation through Gatekeeper, up to the first difference."""
    size = CLIENTS_MAX if mode == "session" else conversation.size
    clients: list[ProxiedClient | None] = [None] * CLIENTS_MAX

    def difference(at: int, received=(), **more) -> Difference:
        step, answer = conversation.steps[at], conversation.answers[at]
        return Difference(mode, size, at, step.line(), answer.frames, list(received), **more)

    at = 0
    try:
        stage.prepare(mode)
        for at, (step, expected) in enumerate(zip(conversation.steps, conversation.answers)):
            if clients[step.client] is None:
                clients[step.client] = ProxiedClient(stage.client(mode, size))
            client = clients[step.client]
            if step.act == "send":
                received = client.send(step, len(expected.frames))
                if received.frames != expected.frames:
                    return difference(at, received.frames, silent=received.silent)
                if END in received.frames:
                    clients[step.client] = None
            else:
                # No message is left unread, except messages that no request asked for.
                left = list(client.client.frames)
                if step.act == "terminate" and left != expected.frames[: len(left)]:
                    return difference(at, left)
                if step.act == "send_and_disconnect":
                    client.client.send(step.bytes(), step.cuts)
                client.client.terminate() if step.act == "terminate" else client.client.disconnect()
                clients[step.client] = None
        disconnect_all(clients)
        stage.settle(mode)
    except TimeoutError as error:
        return difference(at, what=str(error))
    except (ConnectionError, OSError) as error:
        return difference(at, what=f"{type(error).__name__}: {error}")
    finally:
        disconnect_all(clients)
    return None


def disconnect_all(clients):
    for client in clients:
        if client is not None:
            client.client.disconnect()


def compare(stage: Stage, steps: list[Step], size: int, mode: str) -> Difference | None:
    """Runs a script direct and through Gatekeeper."""
    return run_through(stage, mode, repeat(stage, steps, size))


def shrink(steps: list[Step], try_script, same, seconds: float) -> tuple[list[Step], Difference | None]:
    """Removes steps, messages and cuts while the difference stays the same.

    `try_script` runs a script and returns the difference; `same` compares a difference with the original.
    """
    end = time.monotonic() + seconds
    found = None

    def fails(candidate: list[Step]) -> bool:
        nonlocal found
        if time.monotonic() > end:
            return False
        try:
            difference = try_script(candidate)
        except (Impossible, TimeoutError, OSError):
            return False
        if difference is None or not same(difference):
            return False
        found = difference
        return True

    chunk = max(1, len(steps) // 2)
    while chunk:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + chunk :]
            if fewer and fails(fewer):
                steps = fewer
            else:
                at += chunk
        chunk //= 2
    for at in range(len(steps)):
        for part in ("messages", "cuts"):
            index = 0
            while index < len(getattr(steps[at], part)):
                step = steps[at]
                fewer = [*getattr(step, part)[:index], *getattr(step, part)[index + 1 :]]
                smaller = Step(step.client, step.act, **({"messages": step.messages, "cuts": step.cuts} | {part: fewer}))
                if (smaller.messages or step.act != "send") and fails([*steps[:at], smaller, *steps[at + 1 :]]):
                    steps = [*steps[:at], smaller, *steps[at + 1 :]]
                else:
                    index += 1
    return steps, found
