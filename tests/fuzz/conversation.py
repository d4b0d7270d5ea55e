"""A conversation of a few clients, run directly and through Gatekeeper: the responses must be equal."""

import random
import time
from dataclasses import dataclass

from grammar import PEEK, Speaker
from lab.frames import END, Frame
from stage import CLIENTS_MAX, Stage
from steps import PINS, Answer, Heard, Reference, Step

STEPS = 30


@dataclass
class Difference:
    """Where the answers differ first; `step` counts from 0."""

    mode: str
    size: int
    step: int
    said: str
    direct: list[Frame]
    through: list[Frame]
    silent: bool = False
    what: str = ""

    def sides(self) -> tuple[str, str]:
        """The first messages that differ: of the server, and of the other side."""
        if self.what:
            return "", self.what
        same = 0
        while same < min(len(self.direct), len(self.through)) and self.direct[same] == self.through[same]:
            same += 1
        ending = "silence" if self.silent else "nothing"
        tails = [" ".join(map(repr, frames[same : same + 4])) or ending for frames in (self.direct, self.through)]
        return tails[0], tails[1]

    def kind(self) -> tuple:
        """Differences of one kind are probably one fault."""
        return self.mode, *(" ".join(word[:9] for word in side.split(" ")[:2]) for side in self.sides())

    def __str__(self):
        direct, through = self.sides()
        return f"{self.mode}, pool of {self.size}, step {self.step}: {self.said[:300]}\n    direct  {direct[:1500]}\n    through {through[:1500]}"


class Impossible(Exception):
    """The conversation cannot be held over so few backends."""


class Talk:
    """The clients of one conversation at the server itself."""

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
        """Clients that hold a backend of a pool, or may hold one."""
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
        if step.act == "say":
            answer = client.say(step)
            if END in answer.frames:
                self.clients[step.client] = None
        else:
            if step.act == "break":
                client.client.send(step.bytes(), step.cuts)
            if step.act == "leave":
                answer.frames = client.unasked()
            client.client.leave() if step.act == "leave" else client.client.vanish()
            self.clients[step.client] = None
        return answer

    def close(self):
        vanish(self.clients)

    def last_steps(self, at: int) -> list[Step]:
        """Ends the session of a connected client: the client reads all of its own state, and leaves."""
        client = self.clients[at]
        steps = []
        if client.pending.copying:
            steps.append([["f", "enough"]])
        if client.pending.open:
            steps.append([["S"]])
        steps += [[["Q", "ROLLBACK"]], [["Q", PEEK]]]
        return [Step(at, "say", messages) for messages in steps] + [Step(at, "leave")]


@dataclass
class Conversation:
    seed: int
    size: int
    steps: list[Step]
    answers: list[Answer]
    notified: list


def draw(stage: Stage, seed: int, speaker=Speaker) -> Conversation:
    """Holds a random conversation with the server."""
    stage.prepare("direct")
    chance = random.Random(seed)
    clients, size = chance.randint(1, CLIENTS_MAX), chance.randint(1, 2)
    voice = speaker(chance)
    talk = Talk(stage)
    steps: list[Step] = []
    answers: list[Answer] = []

    def act(step: Step):
        steps.append(step)
        answers.append(talk.act(step))

    try:
        for _ in range(STEPS):
            able = [at for at in range(clients) if talk.may_act(at, size)]
            at = chance.choice(able)
            pending = talk.client(at).pending
            act(voice.step(at, pending.status, bool(pending.queue) or pending.skipping, pending.copying))
        finish(talk, act)
        return Conversation(seed, size, steps, answers, [])
    finally:
        talk.close()


def finish(talk: Talk, act):
    """All clients leave; first those that others may have to wait for."""
    for at in sorted(range(CLIENTS_MAX), key=lambda at: at not in talk.holders()):
        while talk.clients[at] is not None:
            for step in talk.last_steps(at):
                act(step)
                if talk.clients[at] is None:
                    break


def repeat(stage: Stage, steps: list[Step], size: int) -> Conversation:
    """Holds the conversation of a script with the server.

    Raises Impossible where a client would have to wait for the backend of another.
    """
    stage.prepare("direct")
    talk = Talk(stage)
    answers = []
    try:
        for step in steps:
            if not talk.may_act(step.client, size):
                raise Impossible
            answers.append(talk.act(step))
        return Conversation(0, size, steps, answers, [])
    finally:
        talk.close()


def listen(stage: Stage, mode: str, conversation: Conversation) -> Difference | None:
    """Holds the conversation through Gatekeeper, up to the first difference."""
    size = CLIENTS_MAX if mode == "session" else conversation.size
    clients: list[Heard | None] = [None] * CLIENTS_MAX

    def difference(at: int, heard=(), **more) -> Difference:
        step, answer = conversation.steps[at], conversation.answers[at]
        return Difference(mode, size, at, step.line(), answer.frames, list(heard), **more)

    at = 0
    try:
        stage.prepare(mode)
        for at, (step, expected) in enumerate(zip(conversation.steps, conversation.answers)):
            if clients[step.client] is None:
                clients[step.client] = Heard(stage.client(mode, size))
            client = clients[step.client]
            if step.act == "say":
                heard = client.say(step, len(expected.frames))
                if heard.frames != expected.frames:
                    return difference(at, heard.frames, silent=heard.silent)
                if END in heard.frames:
                    clients[step.client] = None
            else:
                # Nothing is left over of what was answered, unless it comes unasked.
                left = list(client.client.frames)
                if step.act == "leave" and left != expected.frames[: len(left)]:
                    return difference(at, left)
                if step.act == "break":
                    client.client.send(step.bytes(), step.cuts)
                client.client.leave() if step.act == "leave" else client.client.vanish()
                clients[step.client] = None
        vanish(clients)
        stage.settle(mode)
    except TimeoutError as error:
        return difference(at, what=str(error))
    except (ConnectionError, OSError) as error:
        return difference(at, what=f"{type(error).__name__}: {error}")
    finally:
        vanish(clients)
    return None


def vanish(clients):
    for client in clients:
        if client is not None:
            client.client.vanish()


def compare(stage: Stage, steps: list[Step], size: int, mode: str) -> Difference | None:
    """Holds a script both ways."""
    return listen(stage, mode, repeat(stage, steps, size))


def shrink(steps: list[Step], hold, same, seconds: float) -> tuple[list[Step], Difference | None]:
    """The same difference in as few steps, messages and cuts as are needed for it.

    `hold` holds the conversation of a script, and `same` tells what counts as the same.
    """
    end = time.monotonic() + seconds
    found = None

    def fails(candidate: list[Step]) -> bool:
        nonlocal found
        if time.monotonic() > end:
            return False
        try:
            difference = hold(candidate)
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
                if (smaller.messages or step.act != "say") and fails([*steps[:at], smaller, *steps[at + 1 :]]):
                    steps = [*steps[:at], smaller, *steps[at + 1 :]]
                else:
                    index += 1
    return steps, found
