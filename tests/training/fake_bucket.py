# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""An object store on this machine, for what is written to gs:// by two roads.

`Bucket` is what etils.epath sees, with the manners of an object store: no appending, no folders but
what names suggest. `serve` is what TensorStore, and so orbax's arrays, talk to: the part of Google
Cloud Storage's JSON API that they use. Both keep the objects in one dictionary.
"""

import contextlib
import fnmatch
import http.server
import io
import itertools
import json
import os
import threading
import urllib.parse

from etils.epath import backend as backend_lib
from etils.epath import stat_utils


class Objects:
    """Names, like "bucket/a/b", and what they hold, each with a generation."""

    def __init__(self):
        self.lock = threading.RLock()
        self.content = {}
        self._generations = itertools.count(1)

    def put(self, name, data):
        with self.lock:
            self.content[name] = (data, next(self._generations))
            return self.content[name][1]

    def generation(self, name):
        return self.content.get(name, (b"", 0))[1]


class Bucket(backend_lib.Backend):
    """What epath does with gs:// paths."""

    def __init__(self, objects):
        self.objects = objects

    def _name(self, path):
        text = os.fspath(path)
        assert text.startswith("gs://"), text
        return text.removeprefix("gs://").rstrip("/")

    def _below(self, path):
        prefix = self._name(path) + "/"
        return [name for name in list(self.objects.content) if name.startswith(prefix)]

    def open(self, path, mode):
        name = self._name(path)
        if "a" in mode:
            raise OSError(f"objects cannot be appended to: {path}")
        if "r" in mode:
            if name not in self.objects.content:
                raise FileNotFoundError(str(path))
            stream = io.BytesIO(self.objects.content[name][0])
            return stream if "b" in mode else io.TextIOWrapper(stream, "utf-8")
        return _Upload(self.objects, name, "b" in mode)

    def exists(self, path):
        return self._name(path) in self.objects.content or self.isdir(path)

    def isdir(self, path):
        return bool(self._below(path))

    def listdir(self, path):
        start = len(self._name(path)) + 1
        return sorted({name[start:].partition("/")[0] for name in self._below(path)})

    def glob(self, path):
        parent, _, pattern = os.fspath(path).rpartition("/")
        return [f"{parent}/{n}" for n in self.listdir(parent) if fnmatch.fnmatch(n, pattern)]

    def walk(self, top, *, top_down=True, on_error=None):
        raise NotImplementedError

    def makedirs(self, path, *, exist_ok=False, mode=None):
        self.mkdir(path)

    def mkdir(self, path, *, exist_ok=False, mode=None):
        del exist_ok, mode
        assert self._name(path)

    def rmtree(self, path):
        for name in self._below(path):
            del self.objects.content[name]

    def remove(self, path):
        try:
            del self.objects.content[self._name(path)]
        except KeyError:
            raise FileNotFoundError(str(path)) from None

    def rename(self, path, dst):
        for name in [self._name(path), *self._below(path)]:
            if name in self.objects.content:
                data, _ = self.objects.content.pop(name)
                self.objects.put(self._name(dst) + name[len(self._name(path)) :], data)

    def replace(self, path, dst):
        self.rename(path, dst)

    def copy(self, path, dst, overwrite):
        raise NotImplementedError

    def stat(self, path):
        data, generation = self.objects.content[self._name(path)]
        return stat_utils.StatResult(
            is_directory=False, length=len(data), mtime=generation, owner="", group="", mode=0
        )


class _Upload(io.BytesIO):
    """A file that becomes an object, whole, when it is closed."""

    def __init__(self, objects, name, binary):
        super().__init__()
        self._objects, self._name, self._binary = objects, name, binary

    def write(self, data):
        return super().write(data if self._binary else data.encode())

    def close(self):
        if not self.closed:
            self._objects.put(self._name, self.getvalue())
        super().close()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Reading, writing, deleting and listing objects."""

    protocol_version = "HTTP/1.1"
    objects: Objects

    def log_message(self, *_):
        pass

    def _asked(self):
        url = urllib.parse.urlsplit(self.path)
        parts = url.path.partition("/b/")[2].split("/")
        query = {k: v[0] for k, v in urllib.parse.parse_qs(url.query).items()}
        name = urllib.parse.unquote(parts[2]) if len(parts) > 2 else query.get("name", "")
        return f"{parts[0]}/{name}", query

    def _answer(self, status, data=b"", **headers):
        self.send_response(status)
        for key, value in {"Content-Length": len(data), **headers}.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(data)

    def _refused(self, name, query):
        """By a condition on the generation."""
        now = self.objects.generation(name)
        wanted = query.get("ifGenerationMatch")
        return wanted is not None and int(wanted) != now

    def do_GET(self):
        name, query = self._asked()
        if query.get("alt") != "media":
            bucket, prefix = name.partition("/")[0], name + query.get("prefix", "")
            names = [n for n in sorted(self.objects.content) if n.startswith(prefix)]
            items = [{"name": n[len(bucket) + 1 :], "size": "1"} for n in names]
            return self._answer(200, json.dumps({"items": items}).encode())
        if name not in self.objects.content:
            return self._answer(404)
        data, generation = self.objects.content[name]
        if query.get("ifGenerationNotMatch") == str(generation):
            return self._answer(304)
        head, status = {"x_goog_generation": generation}, 200
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            stop = min(int(last) + 1, len(data)) if last else len(data)
            head["Content_Range"] = f"bytes {first}-{stop - 1}/{len(data)}"
            data, status = data[int(first) : stop], 206
        return self._answer(status, data, **head)

    def do_POST(self):
        name, query = self._asked()
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.objects.lock:
            if self._refused(name, query):
                return self._answer(412)
            generation = self.objects.put(name, data)
        body = {"name": query["name"], "generation": str(generation), "size": str(len(data))}
        return self._answer(200, json.dumps(body).encode())

    def do_DELETE(self):
        name, query = self._asked()
        with self.objects.lock:
            if self._refused(name, query):
                return self._answer(412)
            known = self.objects.content.pop(name, None)
        return self._answer(204 if known else 404)


@contextlib.contextmanager
def serve(objects):
    """Yields the address of a server of these objects."""
    handler = type("Handler", (_Handler,), {"objects": objects})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
