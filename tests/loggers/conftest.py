"""A stand-in for W&B's server on loopback, which can also fail in the ways that servers do."""

import gzip
import json
import logging
import os
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cbam_ablate import load_config
from cbam_ablate.config.canonical import run_key
from cbam_ablate.loggers import following
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.claim import acquire
from cbam_ablate.runs.writer import RunWriter
from cbam_ablate.sweep.manifest import freeze
from cbam_ablate.sweep.plan import make_plan

KEY = "c0ffee" + 34 * "5"
"""The API key of the tests: nothing but requests to the server may ever hold it."""


class WandbServer:
    """`runs` holds what was sent: config, summary, history (rows by line), tags, group, state, files.

    `fail` maps a kind of request (graphql, stream, upload, or one GraphQL operation) to an HTTP status or
    "hang"; `fails` is how many times it does so, None being always.
    """

    def __init__(self):
        self.runs, self.views, self.operations = {}, [], []
        self.fail, self.fails, self.message = {}, None, "told to fail"
        self.released = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def env(self):
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY}

    def die(self):
        """Refuses connections from now on, and drops those that are open."""
        self.released.set()
        self.http.shutdown()
        self.http.server_close()

    def run(self, name):
        blank = {"config": {}, "summary": {}, "history": {}, "tags": [], "state": "running", "files": {}}
        return self.runs.setdefault(name, {"name": name, "group": None, "jobType": None, **blank})

    def failure(self, *kinds):
        found = next((self.fail[kind] for kind in kinds if kind in self.fail), None)
        if found is not None and self.fails is not None:
            self.fails -= 1
            if self.fails < 0:
                return None
        return found

    def answer(self, operation, values):
        """What W&B's GraphQL says, as far as its client looks."""
        if operation == "UpsertBucket":
            return {"upsertBucket": {"bucket": self._upsert(values), "inserted": True}}
        if operation in ("Viewer", "GetDefaultEntity"):
            who = {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
            return {"viewer": who}
        if operation == "CreateRunFiles":
            files = [
                {"name": name, "uploadUrl": f"{self.url}/upload/{values['run']}/{name}"}
                for name in values["files"]
            ]
            return {"createRunFiles": {"runID": "x", "uploadHeaders": [], "files": files}}
        if operation == "CreateArtifact":
            # Already committed: a table's file comes as a file of the run too.
            held = {"id": "a", "state": "COMMITTED", "artifactSequence": {"id": "s", "latestArtifact": None}}
            return {"createArtifact": {"artifact": held}}
        if operation == "ArtifactType":
            return {"project": None}
        if operation == "ProjectInternalId":
            return {"project": {"id": "p", "internalId": "1"}}
        if operation == "GetProjects":
            project = {
                "id": "p",
                "name": "cbam-ablate",
                "entityName": "me",
                "isBenchmark": False,
                "user": None,
            }
            edges = [{"node": {**project, "createdAt": "2026-11-21T10:00:00"}}]
            return {"models": {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}}
        if operation == "Runs":
            return {"project": self._page(values) if values["project"] != "absent" else None}
        if operation == "upsertView":
            self.views.append(values)
            return {"upsertView": {"view": {"id": "view1", "name": values.get("name")}, "inserted": True}}
        name = values.get("name") or values.get("run") or values.get("runName")
        rows = [json.loads(row) for row in self.runs[name]["history"].values()] if name in self.runs else []
        if operation == "RunHistoryKeys":
            last = max((row["_step"] for row in rows), default=-1)
            return {"project": {"run": {"historyKeys": {"lastStep": last, "sets": [], "keys": {}}}}}
        if operation == "RunParquetHistory":
            live = [{"_step": row["_step"]} for row in rows]
            return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": live}}}}
        if operation == "HistoryPage":
            low, high = values["minStep"], values["maxStep"]
            chosen = [json.dumps(row) for row in rows if low <= row["_step"] < high]
            return {"project": {"run": {"history": chosen}}}
        return {}

    def _upsert(self, values):
        run = self.run(values["name"])
        named = {"groupName": "group", "displayName": "displayName", "tags": "tags", "jobType": "jobType"}
        run |= {ours: values[theirs] for theirs, ours in named.items() if values.get(theirs) is not None}
        run["project"] = values["project"]
        if values.get("config"):
            run["config"] = {name: item["value"] for name, item in json.loads(values["config"]).items()}
        owner = {"id": "e", "name": values.get("entity") or "me"}
        project = {"id": "p", "name": run["project"], "entity": owner}
        named = {name: run.get(name) for name in ("displayName", "description", "sweepName")}
        return {**named, "id": run["name"], "name": run["name"], "config": "{}", "project": project,
                "historyLineCount": 0}  # fmt: skip

    def _page(self, values):
        wanted = json.loads(values["filters"]).get("tags")
        runs = [run for run in self.runs.values() if wanted is None or wanted in run["tags"]]
        start, size = int(values.get("cursor") or 0), values["perPage"]
        edges = [
            {"node": self._node(run), "cursor": str(start + number + 1)}
            for number, run in enumerate(runs[start : start + size])
        ]
        info = {"endCursor": None, "hasNextPage": start + size < len(runs)}
        page = {"edges": edges, "pageInfo": info}
        return {"internalId": "1", "runCount": len(runs), "readOnly": False, "runs": page}

    def _node(self, run):
        config = {name: {"value": value} for name, value in run["config"].items()}
        last = max((json.loads(row)["_step"] for row in run["history"].values()), default=-1)
        empty = dict.fromkeys(("sweepName", "commit", "description", "notes"))
        same = {name: run[name] for name in ("name", "group", "tags", "state", "jobType")}
        return {**empty, **same, "id": run["name"], "projectId": "1", "displayName": run.get("displayName"),
                "config": json.dumps(config), "systemMetrics": "{}", "readOnly": False,
                "summaryMetrics": json.dumps(run["summary"]),
                "historyLineCount": len(run["history"]),
                "createdAt": "2026-11-21T10:00:00", "heartbeatAt": "2026-11-21T10:00:00",
                "user": {"name": "me", "username": "me"}, "historyKeys": {"lastStep": last}}  # fmt: skip

    def stream(self, name, sent):
        """Lines go where their offset says, as W&B's file stream has it; a run sent again is written over."""
        run = self.run(name)
        for file, part in (sent.get("files") or {}).items():
            if file == "wandb-history.jsonl":
                run["history"] |= dict(enumerate(part["content"], part["offset"]))
            elif file == "wandb-summary.json":
                run["summary"] = json.loads(part["content"][-1])
        if sent.get("complete"):
            run["state"] = "failed" if sent.get("exitcode") else "finished"

    def rows(self, name):
        return [json.loads(row) for _, row in sorted(self.runs[name]["history"].items())]

    def _handler(server):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def reply(self, value, code=200):
                body = json.dumps(value).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def body(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

            def failed(self, *kinds):
                failure = server.failure(*kinds)
                if failure == "hang":
                    server.released.wait(120)
                    self.close_connection = True
                elif failure is not None:
                    self.reply({"errors": [{"message": server.message}]}, failure)
                return failure is not None

            def do_POST(self):
                body = self.body()
                if self.path == "/graphql":
                    asked = json.loads(body)
                    operation = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])[1]
                    server.operations.append(operation)
                    if not self.failed(operation, "graphql"):
                        self.reply({"data": server.answer(operation, asked.get("variables") or {})})
                elif "file_stream" in self.path:
                    if not self.failed("stream"):
                        server.stream(self.path.split("/")[-2], json.loads(body))
                        self.reply({"exitcode": None, "limits": {}})
                else:
                    self.reply({})

            def do_PUT(self):
                body = self.body()
                if not self.failed("upload"):
                    _, _, name, file = self.path.split("/", 3)
                    server.run(name)["files"][file] = body
                    self.reply({})

        return Handler


@pytest.fixture
def wandb_server():
    server = WandbServer()
    yield server
    server.die()


@pytest.fixture
def no_key(tmp_path):
    """An environment in which W&B finds no credentials of anybody's."""
    home = tmp_path / "home"
    home.mkdir()
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")  # what was compiled stays
    return {
        **{"HOME": str(home), "NETRC": str(home / "none"), "XDG_CACHE_HOME": cache},
        **{"WANDB_API_KEY": "", "WANDB_BASE_URL": ""},
    }


@pytest.fixture
def until():
    """Waits for something to become true, at most `seconds`."""

    def wait(ready, seconds=120):
        deadline = time.monotonic() + seconds
        while not ready() and time.monotonic() < deadline:
            time.sleep(0.05)
        return ready()

    return wait


class Store(logging.Handler):
    """Runs as training leaves them, written by the real writer: their configs are real, their numbers not."""

    def __init__(self, root, tiny):
        super().__init__()
        self.root, self.tiny, self.lines = root, tiny, []

    def emit(self, record):
        self.lines.append(record.getMessage())

    def config(self, *words):
        return load_config([*self.tiny, f"store={self.root}", *words])

    def train(self, cfg, epochs=3, ended="finished", study=None, after=lambda epoch: None):
        """A run of `cfg` with its loggers beside it, as `run_one` has them; `after` is called each epoch."""
        run = RunStore(self.root).run(run_key(cfg))
        run.path.mkdir(parents=True, exist_ok=True)
        score = 10.0 + cfg.seed + 5 * (cfg.model.attention.placement != "none")
        with (
            RunWriter(run, acquire(run.path), cfg, study) as writer,
            following(writer),
        ):
            writer.logger.addHandler(self)
            writer.rewrite_history([])
            writer.progress(epochs=3)
            for epoch in range(1, epochs + 1):
                writer.epoch({"epoch": epoch, "train_loss": 2.0 / epoch, "val_loss": 2.1 / epoch,
                              "train_top1": score, "val_top1": score + epoch, "lr": 0.1,
                              "images_per_second": 900.0, "seconds": 1.5})  # fmt: skip
                after(epoch)
            if ended == "finished":
                writer.finish(self.result(run, score))
            elif ended == "failed":
                writer.fail("diverged", "the loss is not finite", "traceback")
        return run

    def result(self, run, score):
        provenance = {"git_commit": None, "code_sha256": 64 * "a", "versions": {"torch": "2.13.0"},
                      "device": "cpu: X", "precision": "fp32", "threads": 1, "dataset_sha256": 64 * "d",
                      "host": "h", "command": ["cbam-ablate"]}  # fmt: skip
        return {
            "schema": 1,
            "key": run.key,
            "metrics": {"test_top1": score, "val_top1": score + 2, "test_loss": 1.5, "test_top5": 60.0},
            "selection": {"rule": "highest validation top-1", "epoch": 2, "epochs": 3},
            "cost": {"params": 17534, "macs": 2633888, "train_seconds": 4.5, "images_per_second": 950.0},
            "parent": None,
            "provenance": provenance,
        }

    def study(self, *words, placements="none,block", seeds="0,1"):
        """A swept study of finished runs, planned and frozen for real: its name, and the runs by cell."""
        words = [*self.tiny, f"store={self.root}", f"placement={placements}", f"seed={seeds}", *words]
        plan = make_plan(words)
        freeze(plan, ["cbam-ablate", "train", "-m", *words])
        runs = {
            (cfg.model.attention.placement, cfg.seed): self.train(cfg, study=plan.study)
            for cfg in plan.runs.values()
        }
        return plan.study, runs


@pytest.fixture
def store(tmp_path, tiny, monkeypatch, wandb_server, no_key):
    """A store whose loggers find the stand-in server, and nothing of the machine's own W&B settings."""
    for name, value in {**no_key, **wandb_server.env}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return Store(tmp_path / "store", tiny)
