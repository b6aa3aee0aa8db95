"""Containers as Docker's API has them: made from a spec, read back as a status. Functions that block."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

import docker
import docker.errors
from docker.types import DeviceRequest, DriverConfig, LogConfig
from docker.types import Mount as EngineMount

from node_agent.runtime.engine import said
from node_agent.runtime.port import ContainerSpec, ContainerStatus, Labels, Mount, RuntimeFailure

LABEL = "winslow."
PROBE_IMAGE = "winslow-probe:1"
_DROPPED = ("NET_RAW", "MKNOD", "AUDIT_WRITE", "SETFCAP")
_PROCESSES = 32768
_LEAST_MEMORY = 6 << 20  # the engine refuses less
_NO_TIME = "0001-01-01T00:00:00Z"
_NOT_FOUND = (126, 127)
_CONFLICT = 409


def refused(doing: str, error: docker.errors.APIError) -> RuntimeFailure:
    """A RuntimeFailure for what the engine said no to; `doing` begins the sentence."""
    text = said(error)
    if "no space left on device" in text:
        return RuntimeFailure(
            f"{doing}: {text}",
            kind="disk_full",
            hint="free space in Docker's data directory (docker system df)",
        )
    if "executable file not found" in text or ("no such file or directory" in text and "exec" in text):
        return RuntimeFailure(
            f"the stage's command was not found in its image: {text}",
            hint="check `command` and `entrypoint` of the stage",
        )
    status = error.status_code or 0
    return RuntimeFailure(
        f"{doing}: the Docker engine refused: {text}", retryable=status >= 500 and "exec" not in text
    )


def _labels(labels: Labels) -> dict[str, str]:
    return {
        f"{LABEL}site": labels.site,
        f"{LABEL}node": labels.node_uuid,
        f"{LABEL}project": labels.project,
        f"{LABEL}run": str(labels.run),
        f"{LABEL}attempt": str(labels.attempt),
        f"{LABEL}claim": labels.claim,
    }


def _read_labels(labels: Mapping[str, str]) -> Labels:
    def number(name: str) -> int:
        text = labels.get(LABEL + name, "")
        return int(text) if text.isascii() and text.isdigit() else 0

    return Labels(
        site=labels.get(f"{LABEL}site", ""),
        node_uuid=labels.get(f"{LABEL}node", ""),
        project=labels.get(f"{LABEL}project", ""),
        run=number("run"),
        attempt=number("attempt"),
        claim=labels.get(f"{LABEL}claim", ""),
    )


def status(client: docker.APIClient, found: Mapping[str, Any]) -> ContainerStatus:
    """From what `inspect` shows."""
    state = found["State"]
    phase: Literal["created", "running", "exited"] = "running"
    if state["Status"] == "created":
        phase = "created"
    elif state["Status"] in ("exited", "dead", "removing"):
        phase = "exited"
    code = int(state["ExitCode"]) if phase == "exited" else None
    error = str(state.get("Error") or "")
    if code in _NOT_FOUND and not error:
        error = _init_failure(client, found["Id"])
    return ContainerStatus(
        id=found["Id"],
        labels=_read_labels(found["Config"].get("Labels") or {}),
        state=phase,
        exit_code=code,
        oom=bool(state.get("OOMKilled")) and code != 0,  # a stage may outlive the loss of a child
        error=error,
        image_digest=str(found.get("Image", "")),
        started_at=_time(state.get("StartedAt")),
        finished_at=_time(state.get("FinishedAt")) if phase == "exited" else "",
    )


def age(found: Mapping[str, Any], *, at: str) -> float:
    """For how many seconds a container, as `inspect` shows it, had run `at` a time of its engine's."""
    started = _time(found["State"].get("StartedAt"))
    return (datetime.fromisoformat(at) - datetime.fromisoformat(started)).total_seconds() if started else 0.0


def _time(text: str | None) -> str:
    return "" if not text or text == _NO_TIME else text


def _init_failure(client: docker.APIClient, container: str) -> str:
    """What the container's init says when it could not run the command; a script that ends with 126 or
    127 by itself has no such line."""
    lines = client.logs(container, stdout=False, stderr=True, tail=1).decode("utf-8", "replace").splitlines()
    if not lines or not lines[-1].startswith("[FATAL tini ("):
        return ""
    why = lines[-1].partition("] ")[2]
    return f"the stage's command could not be run: {why}; check `command` and `entrypoint` of the stage"


def create(client: docker.APIClient, spec: ContainerSpec) -> str:
    """Create a container, idempotent by name; its id. Raises RuntimeFailure and APIError."""
    try:
        found = client.inspect_container(spec.name)
    except docker.errors.NotFound:
        pass
    else:
        if _read_labels(found["Config"].get("Labels") or {}) != spec.labels:
            raise RuntimeFailure(
                f"a container named {spec.name} exists and belongs to something else",
                hint=f"look at it with docker inspect {spec.name}; remove it if nobody needs it",
            )
        return str(found["Id"])
    labels = _labels(spec.labels)
    volumes: list[str] = []
    mounts = []
    for number, mount in enumerate(spec.mounts):
        if mount.lower is None:
            mounts.append(
                EngineMount(mount.target, str(mount.source), type="bind", read_only=mount.read_only)
            )
            continue
        volume = f"{spec.name}-{number}"
        options = _overlay_options(mount)
        client.create_volume(volume, driver="local", driver_opts=options, labels=labels)
        volumes.append(volume)
        mounts.append(
            EngineMount(
                mount.target,
                volume,
                type="volume",
                read_only=mount.read_only,
                no_copy=True,  # what the image has at that place stays out of the workspace
                driver_config=DriverConfig("local", options),
            )
        )
    memory = max(spec.memory, _LEAST_MEMORY)
    environment = dict(spec.environment)
    if not spec.gpus:
        # where the NVIDIA runtime is Docker's default, an image's own setting would show it every GPU
        environment.setdefault("NVIDIA_VISIBLE_DEVICES", "void")
    host = client.create_host_config(
        init=True,
        security_opt=["no-new-privileges"],
        cap_drop=list(_DROPPED),
        pids_limit=_PROCESSES,
        nano_cpus=max(10_000_000, int(spec.cpus * 1e9)),
        mem_limit=memory,
        memswap_limit=memory,
        shm_size=max(spec.shm, 1 << 20),
        device_requests=[DeviceRequest(device_ids=list(spec.gpus), capabilities=[["gpu"]])]
        if spec.gpus
        else None,
        mounts=mounts,
        network_mode=None if spec.network == "default" else spec.network,
        log_config=LogConfig(
            type="local",
            config={
                "max-size": str(
                    spec.log_limit * 5 // 4 + (1 << 20)
                ),  # above the cap: it must never rotate before
                "max-file": "1",
                "compress": "false",
            },
        ),
    )
    user = spec.user or ("" if os.geteuid() == 0 else f"{os.geteuid()}:{os.getegid()}")
    try:
        created = client.create_container(
            spec.image,
            list(spec.command) or None,
            name=spec.name,
            environment=environment,
            entrypoint=list(spec.entrypoint) if spec.entrypoint is not None else None,
            working_dir=spec.workdir or None,
            user=user or None,
            labels=labels,
            host_config=host,
            detach=True,
        )
    except docker.errors.APIError:
        for volume in volumes:
            client.remove_volume(volume)
        raise
    return str(created["Id"])


def _overlay_options(mount: Mount) -> dict[str, str]:
    assert mount.lower is not None
    if mount.work is None:
        raise RuntimeFailure(f"the overlay at {mount.target} has no work directory")
    for path in (mount.lower, mount.source, mount.work):
        if any(character in str(path) for character in ",:\\"):
            raise RuntimeFailure(
                f"{path}: an overlay's path may hold no comma, colon or backslash",
                hint="choose another data directory for the agent",
            )
    # Renamed folders and changed modes as whole copies, whatever the kernel defaults to: collect reads the upper side.
    options = (
        f"lowerdir={mount.lower},upperdir={mount.source},workdir={mount.work},redirect_dir=off,metacopy=off"
    )
    return {"type": "overlay", "device": "overlay", "o": options}


def user_id(client: docker.APIClient, container: str) -> int:
    """The user that a created container will run as: a name is looked up in its image's /etc/passwd."""
    name = str(client.inspect_container(container)["Config"].get("User") or "0").partition(":")[0]
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        blocks, _ = client.get_archive(container, "/etc/passwd")
        with tarfile.open(fileobj=io.BytesIO(b"".join(blocks))) as archive:
            member = archive.next()
            file = archive.extractfile(member) if member is not None else None
            lines = file.read().decode("utf-8", "replace").splitlines() if file is not None else []
    except docker.errors.NotFound:
        lines = []
    for line in lines:
        fields = line.split(":")
        if fields[0] == name and len(fields) > 2 and fields[2].isdigit():
            return int(fields[2])
    raise RuntimeFailure(f"the image has no user '{name}'", hint="check `user` of the stage")


def remove(client: docker.APIClient, container: str) -> None:
    """Kill and remove it with its volumes; one that is gone is fine. Returns when it is gone."""
    try:
        mounts = client.inspect_container(container)["Mounts"]
    except docker.errors.NotFound:
        return
    with contextlib.suppress(docker.errors.NotFound):
        try:
            client.remove_container(container, force=True, v=True)
        except docker.errors.APIError as error:
            if error.status_code != _CONFLICT:
                raise
            client.wait(container, condition="removed")  # an agent that was killed had begun to
    for mount in mounts:
        if mount.get("Type") == "volume":
            with contextlib.suppress(docker.errors.NotFound):  # an unnamed one went with the container
                client.remove_volume(mount["Name"])


def import_probe(client: docker.APIClient) -> None:
    """Make sure of an image with one empty directory."""
    try:
        client.inspect_image(PROBE_IMAGE)  # type: ignore[no-untyped-call]  # the stubs lack it
    except docker.errors.ImageNotFound:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as archive:
            folder = tarfile.TarInfo("probe")
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
        repository, _, tag = PROBE_IMAGE.partition(":")
        client.import_image_from_data(data.getvalue(), repository=repository, tag=tag)


def drain(blocks: Iterable[bytes]) -> None:
    """Read to the end."""
    for _ in blocks:
        pass
