"""A stand-in for the Hub on this machine: it keeps what huggingface_hub's own client uploads to it."""

import base64
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Hub:
    """files: {path: bytes} of the last commit. repositories: {name: private}. token: the only one that is let in."""

    def __init__(self, token):
        self.token, self.files, self.repositories, self.stored, self.messages = token, {}, {}, {}, []
        self.endpoint = None


@contextmanager
def running(token):
    hub = Hub(token)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def reply(self, content, status=200):
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def body(self):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def do_PUT(self):  # what the LFS batch sent a file to; its address says who may
            hub.stored[self.path.rpartition("/")[2]] = self.body()
            self.reply({})

        def do_GET(self):
            name = self.path.removeprefix("/api/models/").partition("?")[0].partition("/revision/")[0]
            if self.path.startswith("/api/models/") and name in hub.repositories:
                private = hub.repositories[name]
                return self.reply({"id": name, "private": private, "tags": [], "siblings": [], "sha": "0" * 40})
            self.reply({"error": "Repository not found"}, 404)

        def do_POST(self):
            body = self.body()
            if self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self.reply({"error": "Invalid username or password."}, 401)
            if self.path == "/api/repos/create":
                return self.create(json.loads(body))
            if self.path == "/api/validate-yaml":
                return self.reply({"errors": [], "warnings": []})
            if "/preupload/" in self.path:
                files = [
                    {"path": file["path"], "uploadMode": mode(file["path"]), "shouldIgnore": False}
                    for file in json.loads(body)["files"]
                ]
                return self.reply({"files": files})
            if self.path.endswith("/info/lfs/objects/batch"):
                objects = [
                    one | {"actions": {"upload": {"href": f"{hub.endpoint}/stored/{one['oid']}"}}}
                    for one in json.loads(body)["objects"]
                ]
                return self.reply({"transfer": "basic", "objects": objects})
            if "/commit/" in self.path:
                return self.commit([json.loads(line) for line in body.splitlines()])
            self.reply({"error": f"not in this stand-in: {self.path}"}, 501)

        def create(self, asked):
            name = "/".join(filter(None, (asked.get("organization") or "someone", asked["name"])))
            there = name in hub.repositories
            if not there:
                hub.repositories[name] = asked.get("private") or asked.get("visibility") == "private"
            url = f"{hub.endpoint}/{name}"
            self.reply(
                {"url": url, "id": "1", "name": name} | ({"error": "there already"} if there else {}),
                409 if there else 200,
            )

        def commit(self, lines):
            for line in lines:
                value = line["value"]
                if line["key"] == "header":
                    hub.messages.append(value["summary"])
                elif line["key"] == "file":
                    assert value["encoding"] == "base64"
                    hub.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    hub.files[value["path"]] = hub.stored[value["oid"]]
            oid = "1" * 40
            self.reply({"success": True, "commitOid": oid, "commitUrl": f"{hub.endpoint}/someone/moods/commit/{oid}"})

    def mode(path):
        return "lfs" if path.endswith(".safetensors") else "regular"

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
