"""What anybody can see of a site with an MQTT client and an S3 client: nothing here is ours.

The broker tells of every write of a project's document twice: its summary and what the write did, by revision.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from minio import Minio
from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from winslow.config import Config


@dataclass(frozen=True)
class Move:
    """A run went from one state to another; `kind` is what the broker says was written."""

    project: str
    run: int
    kind: str
    before: str
    after: str


class Witness:
    """Listens while it is entered: everything that is told meanwhile is heard."""

    def __init__(self, config: Config) -> None:
        self._site, self._broker = config.settings.site, urlsplit(config.settings.broker.url)
        store = urlsplit(config.store.url)
        self._bucket = store.path.strip("/")
        self._store = Minio(
            store.netloc,
            access_key=config.store.access_key,
            secret_key=config.store.secret_key,
            secure=store.scheme == "https",
        )
        self._summaries: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        self._kinds: dict[str, dict[int, str]] = defaultdict(dict)
        self._lock = threading.Lock()
        self._listening = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_connect = self._connected
        self._client.on_subscribe = lambda *_: self._listening.set()
        self._client.on_message = self._heard

    def __enter__(self) -> Witness:
        assert self._broker.hostname is not None and self._broker.port is not None
        self._client.connect(self._broker.hostname, self._broker.port)
        self._client.loop_start()
        assert self._listening.wait(60), "no answer from the broker"
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(
        self, client: Client, _data: object, _flags: ConnectFlags, code: ReasonCode, _more: Properties | None
    ) -> None:
        assert not code.is_failure, code
        client.subscribe([(f"winslow/{self._site}/projects/+/{what}", 1) for what in ("state", "activity")])

    def _heard(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        if not message.payload:
            return
        told = json.loads(message.payload)
        *_, project, what = message.topic.split("/")
        with self._lock:
            if what == "state":
                self._summaries[project][told["revision"]] = told
            else:
                self._kinds[project][told["revision"]] = told["kind"]

    def document(self, project: str) -> dict[str, Any]:
        """The project's document as it stands in the store."""
        answer = self._store.get_object(self._bucket, f"documents/projects/{project}.json")
        try:
            found: dict[str, Any] = json.loads(answer.read())
        finally:
            answer.close()
            answer.release_conn()
        return found

    def state(self, project: str, n: int) -> str:
        """The state of a run; empty where there is none."""
        found = [run["state"] for run in self.document(project)["runs"] if run["n"] == n]
        return str(found[0]) if found else ""

    def idle(self, project: str) -> bool:
        """Whether nothing of a project is active."""
        return all(run["state"] in ("SUCCEEDED", "FAILED") for run in self.document(project)["runs"])

    def moves(self) -> list[Move]:
        """Every move of a run between two revisions that were both heard of, by project and revision. An agent that
        dies tells nothing of its last write; of that another one may tell the summary, and nobody what it did."""
        with self._lock:
            heard = {project: dict(summaries) for project, summaries in self._summaries.items()}
            kinds = {project: dict(told) for project, told in self._kinds.items()}
        found = []
        for project, summaries in sorted(heard.items()):
            ended = {run["n"]: run["state"] for run in self.document(project)["runs"]}
            for revision in sorted(summaries):
                kind = kinds.get(project, {}).get(revision)
                if revision - 1 not in summaries or kind is None:
                    continue
                before, after = (
                    {run["n"]: run["state"] for run in summaries[each]["active"]}
                    for each in (revision - 1, revision)
                )
                for n, state in before.items():
                    now = after.get(n, ended[n])
                    if now != state:
                        found.append(Move(project=project, run=n, kind=kind, before=state, after=now))
        return found
